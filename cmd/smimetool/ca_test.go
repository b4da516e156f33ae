package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

// TestOCSPServer asks in all the ways of HTTP.
func TestOCSPServer(t *testing.T) {
	a := newApp()
	a.stderr = io.Discard
	dir := filepath.Join(t.TempDir(), "ca")
	if err := a.caInit(&caInit{dir: dir, name: "Test", key: "p256", noPassphrase: true}); err != nil {
		t.Fatal(err)
	}
	store, err := a.openCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := store.authority(issuingName)
	if err != nil {
		t.Fatal(err)
	}
	server := &ocspServer{store: store, authority: authority}
	responder, err := server.current(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert := responder.Certificate
	ask := func(method, path string, body []byte, nonce bool) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			return w
		}
		resp, parseErr := pki.ParseOCSPResponse(w.Body.Bytes())
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		single, ok := resp.Find(cert, authority.Certificate)
		if !ok || single.Status != pki.RevocationGood || (resp.Nonce != nil) != nonce {
			t.Errorf("%s: %v, nonce %x", method, ok, resp.Nonce)
		}
		return w
	}
	for _, noNonce := range []bool{false, true} {
		req, reqErr := pki.NewOCSPRequest(cert, authority.Certificate, pki.OCSPRequestOptions{NoNonce: noNonce})
		if reqErr != nil {
			t.Fatal(reqErr)
		}
		text := base64.StdEncoding.EncodeToString(req.Raw)
		for _, w := range []*httptest.ResponseRecorder{
			ask(http.MethodPost, "/", req.Raw, !noNonce),
			ask(http.MethodGet, "/"+url.PathEscape(text), nil, !noNonce),
			ask(http.MethodGet, "/"+text, nil, !noNonce),
		} {
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/ocsp-response" {
				t.Errorf("status %d", w.Code)
			}
		}
		cached := ask(http.MethodGet, "/"+url.PathEscape(text), nil, !noNonce).Header().Get("Cache-Control") != "no-store"
		if cached != noNonce {
			t.Errorf("without a nonce %v: cached %v", noNonce, cached)
		}
	}
	for want, w := range map[int]*httptest.ResponseRecorder{
		http.StatusRequestEntityTooLarge: ask(http.MethodPost, "/", make([]byte, ca.MaxOCSPRequest+1), false),
		http.StatusBadRequest:            ask(http.MethodGet, "/*", nil, false),
		http.StatusMethodNotAllowed:      ask(http.MethodPut, "/", nil, false),
	} {
		if w.Code != want {
			t.Errorf("status %d, want %d", w.Code, want)
		}
	}
}
