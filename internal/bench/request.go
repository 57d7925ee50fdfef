package bench

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // it is what Sellsy signs with
	"encoding/hex"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// firstID is the first document number that requests carry: all numbers have the same length, so that a
// request is made by writing digits over digits.
const firstID = 1_000_000_000

// idSpace gives every request of a run another document number, so that none is a repeat of another.
type idSpace struct{ next atomic.Int64 }

// take reserves n numbers and returns the first.
func (s *idSpace) take(n int64) int64 { return firstID + s.next.Add(n) - n }

// notification is what Sellsy posts when an estimate's status changes, in its default form: without the
// object, form-encoded in one field. The zeros are replaced for every request.
const notification = `{"eventType":"docslog","event":"step","timestamp":"0000000000",` +
	`"ownerid":"1084","ownertype":"staff","corpid":"929","relatedtype":"estimate","relatedid":"0000000000"}`

const digits = "0000000000"

// request is a prepared HTTP request, changed in place for every send: its document number, its time
// and its signature. It is not safe for concurrent use; each connection has its own.
type request struct {
	raw       []byte
	body      []byte // the end of raw
	time, id  []byte // ten digits each, in body
	signature []byte // forty digits, in raw's header
	key       []byte
	hash      hash.Hash
	sum       [sha1.Size]byte
	second    int64
}

func newRequest(host, path, key string) *request {
	body := "notif=" + url.QueryEscape(notification)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Sellsy\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nX-Webhook-Signature: ",
		path, host, len(body))
	r := &request{key: []byte(key), hash: sha1.New()} //nolint:gosec // as above
	r.raw = append(r.raw, head...)
	r.raw = append(r.raw, bytes.Repeat([]byte{'0'}, hex.EncodedLen(sha1.Size))...)
	r.raw = append(r.raw, "\r\n\r\n"...)
	r.raw = append(r.raw, body...)
	r.signature = r.raw[len(head):][:hex.EncodedLen(sha1.Size)]
	r.body = r.raw[len(r.raw)-len(body):]
	at := bytes.Index(r.body, []byte(digits))
	r.time = r.body[at:][:len(digits)]
	r.id = r.body[bytes.LastIndex(r.body, []byte(digits)):][:len(digits)]
	return r
}

// prepare makes the request the one for a document, signed, and returns its bytes.
func (r *request) prepare(id int64, now time.Time) []byte {
	if second := now.Unix(); second != r.second {
		strconv.AppendInt(r.time[:0], second, 10)
		r.second = second
	}
	strconv.AppendInt(r.id[:0], id, 10)
	r.hash.Reset()
	r.hash.Write(r.key)
	r.hash.Write(r.body)
	hex.Encode(r.signature, r.hash.Sum(r.sum[:0]))
	return r.raw
}
