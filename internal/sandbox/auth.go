package sandbox

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// issueToken answers POST /oauth2/access-tokens, with a form or JSON body.
func (s *Sandbox) issueToken(r *request) (int, any, *apiError) {
	grant, id, secret := credentials(r)
	same := subtle.ConstantTimeCompare([]byte(id), []byte(s.opts.ClientID)) &
		subtle.ConstantTimeCompare([]byte(secret), []byte(s.opts.ClientSecret))
	switch {
	case grant != "client_credentials":
		return http.StatusBadRequest, object{
			"error": "unsupported_grant_type", "error_description": "The grant type is not supported by the sandbox.",
		}, nil
	case same != 1:
		return http.StatusUnauthorized, object{
			"error": "invalid_client", "error_description": "Client authentication failed",
		}, nil
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // it never fails
	token := hex.EncodeToString(raw)
	s.mu.Lock()
	s.tokens[token] = s.opts.Now().Add(s.opts.TokenLifetime)
	s.issued++
	s.mu.Unlock()
	return http.StatusOK, object{
		"token_type": "Bearer", "expires_in": int64(s.opts.TokenLifetime / time.Second), "access_token": token,
	}, nil
}

func credentials(r *request) (grant, id, secret string) {
	kind, _, _ := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" && !strings.HasPrefix(strings.TrimSpace(string(r.body)), "{") {
		form, err := url.ParseQuery(string(r.body))
		if err != nil {
			return "", "", ""
		}
		return form.Get("grant_type"), form.Get("client_id"), form.Get("client_secret")
	}
	// Sellsy's own examples post JSON with curl -d, which calls it a form.
	o, err := decodeObject(r.body)
	if err != nil {
		return "", "", ""
	}
	grant, _ = o["grant_type"].(string)
	id, _ = o["client_id"].(string)
	secret, _ = o["client_secret"].(string)
	return grant, id, secret
}

// authorised tells whether the request carries a token that is still good.
func (s *Sandbox) authorised(r *http.Request) *apiError {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return &apiError{status: http.StatusUnauthorized, message: "Missing \"Authorization\" header"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.PersonalToken != "" && token == s.opts.PersonalToken {
		return nil
	}
	if until, ok := s.tokens[token]; ok && s.opts.Now().Before(until) {
		return nil
	}
	return &apiError{status: http.StatusUnauthorized, message: "The access token is invalid or has expired"}
}

// RevokeTokens makes every token that was issued bad at once.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// TokensIssued counts the tokens that were asked for and given.
func (s *Sandbox) TokensIssued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}
