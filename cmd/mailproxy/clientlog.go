package main

import (
	"context"
	"log/slog"
)

// A clientLog is the log of a connection: what With makes of one takes a thousand
// octets, for as long as the connection lasts.
type clientLog struct {
	slog.Handler
	client slog.Attr
}

// logOf returns a log that tells the client with each line.
func logOf(log *slog.Logger, client string) *slog.Logger {
	return slog.New(&clientLog{log.Handler(), slog.String("client", client)})
}

// Handle implements slog.Handler.
func (h *clientLog) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(h.client)
	return h.Handler.Handle(ctx, r)
}

func (h *clientLog) with() slog.Handler { return h.Handler.WithAttrs([]slog.Attr{h.client}) }

// WithAttrs implements slog.Handler.
func (h *clientLog) WithAttrs(attrs []slog.Attr) slog.Handler { return h.with().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h *clientLog) WithGroup(name string) slog.Handler { return h.with().WithGroup(name) }
