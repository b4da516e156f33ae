package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/ca"
)

const caOCSPLong = `
Answers, over HTTP, whether certificates of this CA are revoked (RFC 6960). The
answers are signed with a key that exists in memory only, for which the CA issues
a certificate. The address that it listens on is written to the standard output.
It ends with an interrupt or SIGTERM.
`

// How the responder works.
const (
	ocspValidity     = time.Hour          // of an answer
	responderLife    = 7 * 24 * time.Hour // of the responder's certificate
	responderRenewal = 24 * time.Hour     // after which there is a new one
	ocspTimeout      = 10 * time.Second   // for reading a request, and for answering
	maxHeader        = 32 << 10           // octets; a request may be in the URL
)

type caOCSP struct{ dir, listen string }

func newCAOCSP(a *app) *cobra.Command {
	f := &caOCSP{}
	cmd := a.newCommand("ocsp --dir DIR --listen HOST:PORT", "Answer OCSP requests", caOCSPLong, 0,
		func([]string) error { return a.caOCSP(f) })
	flags := cmd.Flags()
	dirFlag(cmd, &f.dir)
	flags.StringVar(&f.listen, "listen", "", "listen on `HOST:PORT`, such as 127.0.0.1:8888; port 0 is any that is free")
	passphraseFlag(a, cmd)
	return cmd
}

// An ocspServer answers OCSP requests over HTTP.
type ocspServer struct {
	store     *caStore
	authority *ca.Authority

	mu        sync.Mutex
	responder *ca.Responder
	renewed   time.Time
	index     *caIndex
	stamp     os.FileInfo // of the file that index was read from
}

func (a *app) caOCSP(f *caOCSP) error {
	if f.listen == "" {
		return &usageError{"--listen HOST:PORT is needed", []string{"--listen 127.0.0.1:8888 answers this computer alone"}}
	}
	s, err := a.openCA(f.dir)
	if err != nil {
		return err
	}
	authority, err := s.authority(issuingName)
	if err != nil {
		return err
	}
	server := &ocspServer{store: s, authority: authority}
	if _, err = server.current(time.Now()); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return &namedError{"--listen", err}
	}
	web := &http.Server{
		Handler: server, ReadHeaderTimeout: ocspTimeout, ReadTimeout: ocspTimeout, WriteTimeout: ocspTimeout,
		IdleTimeout: ocspTimeout, MaxHeaderBytes: maxHeader,
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM) // here they are a good end
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err = fmt.Fprintln(a.stdout, "http://"+listener.Addr().String()+"/"); err != nil {
		_ = listener.Close() // the first error counts
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = web.Close() })()
	if err = web.Serve(listener); errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// current returns the responder, with a certificate that is valid for long
// enough.
func (s *ocspServer) current(now time.Time) (*ca.Responder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.responder != nil && now.Sub(s.renewed) < responderRenewal {
		return s.responder, nil
	}
	key, err := ca.GenerateKey(ca.P256)
	if err != nil {
		return nil, err
	}
	responder, err := s.authority.NewResponder(key, s.status, responderLife, now)
	if err != nil {
		return nil, err
	}
	err = s.store.update(func(*caIndex) ([]caRecord, error) {
		return []caRecord{issueRecord(issuingName, responder.Certificate)}, nil
	})
	if err != nil {
		return nil, err
	}
	s.responder, s.renewed = responder, now
	return responder, nil
}

// status implements ca.Lookup. The index is read again when it has changed.
func (s *ocspServer) status(serial []byte) (ca.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp, err := os.Stat(s.store.path(caIndexFile))
	if err != nil {
		return ca.Status{}, err
	}
	if s.index == nil || stamp.Size() != s.stamp.Size() || !stamp.ModTime().Equal(s.stamp.ModTime()) {
		if s.index, err = s.store.read(); err != nil {
			return ca.Status{}, err
		}
		s.stamp = stamp
	}
	key := indexKey(issuingName, hex.EncodeToString(serial))
	if r, ok := s.index.revoked[key]; ok {
		return ca.Status{Status: pki.RevocationRevoked, At: r.Time, Reason: r.Reason}, nil
	}
	if _, ok := s.index.issued[key]; ok {
		return ca.Status{Status: pki.RevocationGood}, nil
	}
	return ca.Status{Status: pki.RevocationUnknown}, nil
}

// ServeHTTP implements http.Handler (RFC 6960, Appendix A.1).
func (s *ocspServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request []byte
	var err error
	switch r.Method {
	case http.MethodPost:
		request, err = io.ReadAll(http.MaxBytesReader(w, r.Body, ca.MaxOCSPRequest))
		if errors.As(err, new(*http.MaxBytesError)) {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
	case http.MethodGet:
		request, err = requestInPath(r.URL.EscapedPath())
	default:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "GET and POST alone", http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		http.Error(w, "not an OCSP request", http.StatusBadRequest)
		return
	}
	s.answer(w, r, request)
}

// answer writes the response.
func (s *ocspServer) answer(w http.ResponseWriter, r *http.Request, request []byte) {
	now := time.Now()
	responder, err := s.current(now)
	if err != nil {
		http.Error(w, "not able to answer now", http.StatusInternalServerError)
		return
	}
	answer, err := responder.Respond(request, now, ocspValidity)
	if err != nil {
		s.store.a.warn("an OCSP request could not be answered: %s", printable(err.Error()))
	}
	h := w.Header()
	h.Set("Content-Type", "application/ocsp-response")
	h.Set("Cache-Control", "no-store")
	if answer.Reusable && r.Method == http.MethodGet {
		// RFC 5019, Section 6.2: caches may keep it until nextUpdate.
		h.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform, must-revalidate", int(ocspValidity.Seconds())-1))
		h.Set("Last-Modified", answer.ThisUpdate.Format(http.TimeFormat))
		h.Set("Expires", answer.NextUpdate.Format(http.TimeFormat))
	}
	_, _ = w.Write(answer.DER) // a client that has gone needs no answer
}

// requestInPath reads the request of a GET: base64, with its "/", "+" and "="
// escaped or not.
func requestInPath(path string) ([]byte, error) {
	text, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}
