package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // Sellsy signs with it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Notification is a webhook to be sent about an estimate.
type Notification struct {
	URL  string `json:"url"`
	Key  string `json:"key"`
	JSON bool   `json:"json"` // default is a form with the field notif
	// WithObject puts the estimate into the body (object_in_payload).
	WithObject bool   `json:"with_object"`
	Estimate   int64  `json:"estimate"`
	Event      string `json:"event,omitempty"` // default "step"
	// At is the body's timestamp; the same one makes the same bytes. Zero is now.
	At int64 `json:"at,omitempty"`
	// Signature replaces the right one.
	Signature string `json:"signature,omitempty"`
}

// Answer is what the receiver said, and how long it took.
type Answer struct {
	Status   int           `json:"status"`
	Body     string        `json:"body"`
	Duration time.Duration `json:"duration"`
}

// Sign is Sellsy's signature: hex SHA-1 of the key followed by the body, which is no HMAC.
func Sign(key string, body []byte) string {
	sum := sha1.Sum(append([]byte(key), body...)) //nolint:gosec // Sellsy signs with it
	return hex.EncodeToString(sum[:])
}

// Request makes the signed request as Sellsy sends it.
func (s *Sandbox) Request(ctx context.Context, n Notification) (*http.Request, error) {
	s.mu.Lock()
	estimate := s.estimates[n.Estimate]
	s.mu.Unlock()
	if estimate == nil {
		return nil, fmt.Errorf("there is no estimate %d", n.Estimate)
	}
	if n.At == 0 {
		n.At = s.opts.Now().Unix()
	}
	// Sellsy writes scalars as strings, except in the object.
	payload := object{
		"eventType": "docslog", "event": cmp.Or(n.Event, "step"), "timestamp": strconv.FormatInt(n.At, 10),
		"ownerid": strconv.Itoa(defaultStaff), "ownertype": "staff", "corpid": "929",
		"relatedtype": "estimate", "relatedid": strconv.FormatInt(n.Estimate, 10),
	}
	if n.WithObject {
		payload["relatedobject"] = shown(estimate, nil)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	kind := "application/json"
	if !n.JSON {
		kind = "application/x-www-form-urlencoded"
		body = []byte(url.Values{"notif": {string(body)}}.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", "Sellsy Webhooks")
	r.Header.Set("X-Webhook-Signature", cmp.Or(n.Signature, Sign(n.Key, body)))
	return r, nil
}

// Notify sends a webhook and waits for the answer.
func (s *Sandbox) Notify(ctx context.Context, n Notification) (Answer, error) {
	r, err := s.Request(ctx, n)
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	response, err := s.opts.Client.Do(r)
	if err != nil {
		return Answer{Duration: time.Since(start)}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	answer := Answer{Status: response.StatusCode, Body: string(body), Duration: time.Since(start)}
	return answer, errors.Join(err, response.Body.Close())
}

// subscribers are the enabled webhooks that want an event. The caller holds the lock.
func (s *Sandbox) subscribers(event string) []object {
	var hooks []object
	for _, hook := range s.webhooks {
		list, _ := hook["configuration"].([]any)
		wants := slices.ContainsFunc(list, func(v any) bool {
			o, _ := v.(object)
			return o["id"] == event && o["is_enabled"] != false
		})
		if enabled, _ := hook["is_enabled"].(bool); enabled && wants && hook["type"] == "http" {
			hooks = append(hooks, hook)
		}
	}
	return hooks
}

const webhookTimeout = 10 * time.Second

// notifyAll tells the subscribed webhooks, behind the answer, and counts failures as Sellsy does.
func (s *Sandbox) notifyAll(hooks []object, estimate int64) {
	for _, hook := range hooks {
		s.late.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), webhookTimeout)
			defer cancel()
			go func() {
				select {
				case <-s.closed:
					cancel()
				case <-ctx.Done():
				}
			}()
			n := Notification{Estimate: estimate}
			n.URL, _ = hook["endpoint"].(string)
			n.Key, _ = hook["sign_key"].(string)
			n.JSON, _ = hook["json_content_type"].(bool)
			n.WithObject, _ = hook["object_in_payload"].(bool)
			answer, err := s.Notify(ctx, n)
			s.noteDelivery(integerOf(hook["id"]), err == nil && answer.Status/100 == 2)
		})
	}
}

func (s *Sandbox) noteDelivery(id int64, succeeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hook := s.webhooks[id]
	if hook == nil {
		return
	}
	hook = hook.clone()
	now := s.opts.Now().UTC().Format(time.RFC3339)
	if succeeded {
		hook["last_succeeded"] = now
	} else {
		hook["last_failed"], hook["nb_failures"] = now, integerOf(hook["nb_failures"])+1
	}
	s.webhooks[id] = hook
}

func (s *Sandbox) postWebhook(r *request) (int, any, *apiError) {
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	wrong := details{}
	newWebhook.check("", body, wrong)
	endpoint, _ := body["endpoint"].(string)
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" {
		wrong.add("endpoint", "This value is not a valid URL.")
	}
	if len(wrong) > 0 {
		return 0, nil, invalid(wrong)
	}
	hook := object{
		"is_enabled": true, "name": nil, "type": "http", "updated": nil, "last_succeeded": nil, "last_failed": nil,
		"nb_failures": int64(0), "object_in_payload": false, "json_content_type": false, "sign_key": "",
		"configuration": []any{}, "created": s.opts.Now().UTC().Format(time.RFC3339),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hook["id"] = s.nextID()
	return s.keepWebhook(http.StatusCreated, hook, body)
}

// keepWebhook writes the changes into the webhook and keeps it. The caller holds the lock.
func (s *Sandbox) keepWebhook(status int, hook, changes object) (int, any, *apiError) {
	for name, v := range changes {
		hook[name] = v
	}
	s.webhooks[integerOf(hook["id"])] = hook
	if err := s.journal("webhook", hook); err != nil {
		return 0, nil, internal(err)
	}
	return status, hook, nil
}

func (s *Sandbox) putWebhook(r *request) (int, any, *apiError) {
	body, failed := r.object()
	if failed != nil {
		return 0, nil, failed
	}
	wrong := details{}
	changedWebhook.check("", body, wrong)
	if len(wrong) > 0 {
		return 0, nil, invalid(wrong)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hook := s.webhooks[r.id()]
	if hook == nil {
		return 0, nil, notFound("Webhook")
	}
	hook = hook.clone()
	hook["updated"] = s.opts.Now().UTC().Format(time.RFC3339)
	return s.keepWebhook(http.StatusOK, hook, body)
}

func (s *Sandbox) getWebhook(r *request) (int, any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hook := s.webhooks[r.id()]; hook != nil {
		return http.StatusOK, hook, nil
	}
	return 0, nil, notFound("Webhook")
}

func (s *Sandbox) deleteWebhook(r *request) (int, any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhooks[r.id()] == nil {
		return 0, nil, notFound("Webhook")
	}
	delete(s.webhooks, r.id())
	if err := s.journal("webhook-deleted", object{"id": r.id()}); err != nil {
		return 0, nil, internal(err)
	}
	return http.StatusNoContent, nil, nil
}

func (s *Sandbox) listWebhooks(r *request) (int, any, *apiError) {
	p, failed := readPage(r.http.URL.Query())
	if failed != nil {
		return 0, nil, failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]object, 0, len(s.webhooks))
	for _, hook := range s.webhooks {
		list = append(list, hook)
	}
	slices.SortFunc(list, func(a, b object) int { return cmp.Compare(integerOf(a["id"]), integerOf(b["id"])) })
	return http.StatusOK, paged(list, p), nil
}

func (s *Sandbox) webhookEvents(*request) (int, any, *apiError) {
	document := object{
		"created": "Création", "updated": "Modification", "deleted": "Suppression", "step": "Changement de statut",
		"paymentadd": "Ajout d'un paiement", "paymentupd": "Modification d'un paiement",
	}
	return http.StatusOK, []any{
		object{"id": "estimate", "description": "Devis", "events": document},
		object{"id": "invoice", "description": "Factures", "events": document},
		object{"id": "client", "description": "Clients", "events": object{"created": "Création", "updated": "Modification"}},
	}, nil
}
