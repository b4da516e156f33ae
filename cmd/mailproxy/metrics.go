package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

// metrics are what the program counts.
type metrics struct {
	accepted, open, logins                   [2]atomic.Int64 // by protocol
	refused, handshakeFailures               atomic.Int64
	upstreamFailures, reloads, reloadsFailed atomic.Int64
	ready                                    atomic.Bool
}

// protocolIndex is the index into the fields by protocol.
func protocolIndex(protocol string) int {
	if protocol == config.IMAP4 {
		return 1
	}
	return 0
}

// write writes all in the text format of Prometheus.
func (m *metrics) write(w io.Writer) error {
	var err error
	metric := func(kind, name, help string, values ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, "# HELP mailproxy_%s %s\n# TYPE mailproxy_%[1]s %[3]s\n", name, help, kind)
		}
		for i := 0; i < len(values) && err == nil; i += 2 {
			_, err = fmt.Fprintf(w, "mailproxy_%s%s %d\n", name, values[i], values[i+1])
		}
	}
	smtp, imap := fmt.Sprintf("{protocol=%q}", config.SMTP), fmt.Sprintf("{protocol=%q}", config.IMAP4)
	metric("counter", "connections_total", "Connections of clients that were accepted.", smtp, m.accepted[0].Load(), imap, m.accepted[1].Load())
	metric("gauge", "connections_open", "Connections of clients that are open.", smtp, m.open[0].Load(), imap, m.open[1].Load())
	metric("counter", "connections_refused_total", "Connections of clients that exceeded a limit.", "", m.refused.Load())
	metric("counter", "logins_total", "Logins that a mail server has accepted.", smtp, m.logins[0].Load(), imap, m.logins[1].Load())
	metric("counter", "handshake_failures_total", "TLS handshakes of clients that failed, on implicit TLS.", "", m.handshakeFailures.Load())
	metric("counter", "upstream_failures_total", "Connections to mail servers that could not be made.", "", m.upstreamFailures.Load())
	metric("counter", "reloads_total", "Configurations that were read again.", `{result="ok"}`, m.reloads.Load(), `{result="failed"}`, m.reloadsFailed.Load())
	return err
}

// handler serves /metrics, /healthz and /readyz.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	plain := func(w http.ResponseWriter, code int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text) // nobody to tell when that fails
	}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = m.write(w) // nobody to tell when that fails
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if m.ready.Load() {
			plain(w, http.StatusOK, "ready\n")
			return
		}
		plain(w, http.StatusServiceUnavailable, "not ready\n")
	})
	return mux
}

// serveMetrics serves until the function that it returns is called.
func serveMetrics(address string, m *metrics) (net.Addr, func(), error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, &listenError{address, err}
	}
	srv := &http.Server{Handler: m.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // its error is that it was shut down
	}()
	return l.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close() // whoever is still asking gets no answer
		}
		<-done
	}, nil
}
