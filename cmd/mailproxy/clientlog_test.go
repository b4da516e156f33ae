package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"reflect"
	"testing"
)

// TestClientLog tells the client in each line, also of logs that are made of it.
func TestClientLog(t *testing.T) {
	var out bytes.Buffer
	log := logOf(slog.New(slog.NewJSONHandler(&out, nil)), "192.0.2.1")
	for name, f := range map[string]struct {
		log  func()
		want map[string]any
	}{
		"info":  {func() { log.Info("x", "a", "b") }, map[string]any{"a": "b"}},
		"with":  {func() { log.With("c", "d").Info("x", "a", "b") }, map[string]any{"a": "b", "c": "d"}},
		"group": {func() { log.WithGroup("g").Info("x", "a", "b") }, map[string]any{"g": map[string]any{"a": "b"}}},
	} {
		out.Reset()
		f.log()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "time")
		f.want["msg"], f.want["level"], f.want["client"] = "x", "INFO", "192.0.2.1"
		if !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	out.Reset()
	if log.Debug("no"); out.Len() > 0 {
		t.Errorf("%s", &out)
	}
}
