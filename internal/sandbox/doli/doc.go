// Package doli imitates the part of Dolibarr's REST API that relais uses, as version 22 answers, so that
// steps and commands can be tested without one.
//
// It is as loose as Dolibarr where that is a trap: ids are texts or numbers, nothing is "" or [], a ref_ext
// isn't unique, one of several is given, and an empty list of webhooks is a 404. It is stricter where
// Dolibarr would swallow a mistake: members that it would set on an object without using them are refused,
// and so are parameters that no call has. It misbehaves on demand, as package sandbox does.
package doli
