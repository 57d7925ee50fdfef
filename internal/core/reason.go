package core

// Reason is why an attempt did not succeed, or why a delivery ended. It is stored, shown, and the
// label of metrics: the set is finite.
type Reason string

const (
	ReasonNone        Reason = ""
	ReasonTimeout     Reason = "timeout"
	ReasonRefused     Reason = "connection_refused"
	ReasonReset       Reason = "connection_reset"
	ReasonDNS         Reason = "dns"
	ReasonTLS         Reason = "tls"
	ReasonAddress     Reason = "address_not_allowed"
	ReasonRedirect    Reason = "redirect"
	ReasonTooLarge    Reason = "response_too_large"
	ReasonStatus      Reason = "status"
	ReasonRateLimited Reason = "rate_limited"
	ReasonMaintenance Reason = "maintenance"
	ReasonAuth        Reason = "authentication"
	ReasonExpression  Reason = "expression"
	ReasonParameter   Reason = "parameter"
	ReasonInvalidData Reason = "invalid_data"
	ReasonStatement   Reason = "statement_refused" // a database refused what it was asked to do
	ReasonRows        Reason = "rows_mismatch"     // not as many rows as the step expects; nothing was changed
	ReasonBusy        Reason = "busy"              // a lock, a deadlock, or no connection left
	ReasonNotReady    Reason = "not_ready"         // the other system isn't in the state the step needs yet
	ReasonRolledBack  Reason = "rolled_back"       // told of before its commit, and never seen since
	ReasonUnknown     Reason = "unknown"           // sent, and what became of it can't be told
	ReasonSettling    Reason = "settling"          // waiting before an unknown effect may be looked up
	ReasonHeld        Reason = "effect_held"       // another delivery is at the same effect
	ReasonDuplicate   Reason = "duplicate"         // the other system holds it twice
	ReasonAmbiguous   Reason = "ambiguous"         // a person has to look
	ReasonInterrupted Reason = "interrupted"       // ended by a stop or a crash
	ReasonMaxAge      Reason = "max_age"           // too old to be tried again
	ReasonExhausted   Reason = "exhausted"         // the schedule's last attempt failed
	ReasonCancelled   Reason = "cancelled"         // by a person
	ReasonSkipped     Reason = "skipped"           // nothing to do
	ReasonLoop        Reason = "loop"              // events that make events, too deep
	ReasonInternal    Reason = "internal_error"    // a fault of relais, logged
)

// RejectReason is why a request was refused. It is stored, shown, and the reason label of
// webhook_failures_total: the set is finite.
type RejectReason string

const (
	RejectNoSignature   RejectReason = "signature_missing"
	RejectBadSignature  RejectReason = "signature_invalid"
	RejectExpired       RejectReason = "timestamp_outside_tolerance"
	RejectCredentials   RejectReason = "credentials_invalid"
	RejectAddress       RejectReason = "address_not_allowed"
	RejectMethod        RejectReason = "method_not_allowed"
	RejectTooLarge      RejectReason = "body_too_large"
	RejectTruncated     RejectReason = "body_truncated"
	RejectTimeout       RejectReason = "body_timeout"
	RejectMalformed     RejectReason = "body_malformed"
	RejectEmpty         RejectReason = "body_empty"
	RejectRate          RejectReason = "rate_limited"
	RejectOverload      RejectReason = "overloaded"
	RejectStore         RejectReason = "store_unavailable"
	RejectCertificate   RejectReason = "certificate_unavailable"
	RejectUnknownSource RejectReason = "source_unknown"
)
