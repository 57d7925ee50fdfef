// Package once keeps what a step makes in another system from being made twice, where that system has no
// idempotency key. It is the part of the protocol that doesn't depend on the system:
//
//  1. The ledger. An effect that is done is the answer. One that was sent is left alone until sent_at +
//     settle: until then what it made may still appear.
//  2. The step's own look-up, before every request, also the first. After something was sent, "not found"
//     counts when it was said twice, a recheck apart.
//  3. The request. The effect is sent, durably, before the first byte leaves, and the body's last byte leaves
//     only while a clock that goes on while the machine sleeps or the process is stopped says that this was
//     a moment ago. A refusal (4xx) opens the effect again: nothing was made. Anything else that isn't an
//     answer leaves it sent.
//  4. The look-up again. Two things end the delivery as dead, and the effect as unknown: a person has to
//     delete one.
//
// What remains: a person who makes the thing by hand between the look-up and the request; a system whose
// look-up lags, or that carries a request out, for longer than settle and a recheck; and a process that is
// stopped between the check of the clock and the write of the same few kilobytes, some microseconds later,
// for longer than settle, while another node takes over. A kernel that holds unsent bytes for a connection
// gives them up within the request's deadline (Linux), so a process that was killed sends nothing later.
package once
