// Package source knows providers: how a request proves where it comes from, what the message in it is
// called, what makes it unique, and how the provider wants to be answered.
//
// What is known of a provider is a preset, one YAML file. A source is a preset together with one entry
// of the configuration, compiled once; after that nothing of the grammar is looked at again.
//
// Verification works on the received bytes, before they are parsed, in constant time with regard to
// secrets, and fails closed: whatever can't be read, is missing or is given twice is a refusal. Only a
// verified request is read. Reading takes the names and values that the preset asks for out of the body
// in one pass, and refuses what isn't well formed, so that nobody after it meets a body that can't be
// decoded.
package source
