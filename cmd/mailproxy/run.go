package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

const runLong = `
Listens, and serves mail clients until it is told to end.

SIGHUP reads the configuration again: connections go on as they are, and new ones
use the new configuration; one that is wrong is reported, and the old one stays.
Addresses of [metrics] are not changed by it. SIGTERM and SIGINT let connections
finish the message that they are in the middle of.

The log is JSON, on the standard error stream. It has neither passwords nor
anything of the content of mail.
`

func newRun(a *app) *cobra.Command {
	var file string
	cmd := a.newCommand("run --config FILE", "Serve mail clients", runLong, func() error { return a.serve(file) })
	configFlag(cmd, &file)
	return cmd
}

// configFlag adds --config, which is required.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "the configuration is `FILE`")
	_ = cmd.MarkFlagRequired("config") // it exists
	_ = cmd.MarkFlagFilename("config", "toml")
}

func (a *app) serve(file string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	conf, err := config.Read(file)
	if err != nil {
		return err
	}
	var level slog.LevelVar
	level.Set(conf.Log.Level)
	log := slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: &level}))
	srv, err := newServer(context.Background(), conf, log)
	if err != nil {
		return err
	}
	defer growHeap()()
	stopMetrics := func() {}
	trimming, stopTrim := context.WithCancel(context.Background())
	go trim(trimming)
	defer func() {
		stopTrim()
		if cut := srv.drain(); cut > 0 {
			log.Warn("connections were cut off", "connections", cut)
		}
		stopMetrics()
		log.Info("stopped")
	}()
	if address := conf.Metrics.Address; address != "" {
		at, stop, metricsErr := serveMetrics(address, &srv.metrics)
		if metricsErr != nil {
			return metricsErr
		}
		stopMetrics = stop
		log.Info("metrics", "address", at.String())
	}
	srv.metrics.ready.Store(true)
	tellSystem(log, "READY=1", "STATUS=Serving")
	for sig := range signals {
		if sig != syscall.SIGHUP {
			log.Info("stopping", "signal", sig.String())
			break
		}
		srv.reload(file, &level)
	}
	srv.metrics.ready.Store(false)
	tellSystem(log, "STOPPING=1", "STATUS=Waiting for connections to end")
	return nil
}

func tellSystem(log *slog.Logger, states ...string) {
	if err := notify(states...); err != nil {
		log.Warn("systemd cannot be told", "error", err)
	}
}

// reload reads the configuration again.
func (s *server) reload(file string, level *slog.LevelVar) {
	tellSystem(s.log, "RELOADING=1")
	conf, err := config.Read(file)
	if err == nil {
		err = s.load(context.Background(), conf)
	}
	status := "STATUS=Serving"
	if err != nil {
		s.metrics.reloadsFailed.Add(1)
		s.log.Error("the new configuration is wrong, and the old one stays", "error", err.Error())
		status = "STATUS=Serving; the new configuration is wrong, and the old one stays"
	} else {
		s.metrics.reloads.Add(1)
		level.Set(conf.Log.Level)
		s.log.Info("reloaded")
	}
	tellSystem(s.log, "READY=1", status)
}
