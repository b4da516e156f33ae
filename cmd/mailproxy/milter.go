package main

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cmd/mailproxy/internal/account"
	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
	"github.com/postseal/postseal/internal/facts"
	"github.com/postseal/postseal/internal/milter"
	"github.com/postseal/postseal/internal/outgoing"
	"github.com/postseal/postseal/internal/policy"
)

const milterLong = `
Answers Postfix or Sendmail, which ask about each message by the milter protocol,
and signs and encrypts mail that no client sends through the proxy. Accounts, rules
and the address are those of the configuration; listeners are not served.

The mail of people who have logged in at the mail server is touched, and that of
hosts in trusted; all other mail passes as it is. All recipients of a message get
the same: what is required for one is done for all, and a message that cannot be
the same for all is refused.

In Postfix: smtpd_milters = unix:/run/mailproxy/milter.sock, and for mail from the
command line of the host non_smtpd_milters. Keep milter_default_action at tempfail:
with accept, mail leaves in the clear while the filter is not there.

SIGHUP reads the configuration again, but for the address. SIGTERM and SIGINT let
the messages that are under way end.
`

func newMilter(a *app) *cobra.Command {
	var file string
	cmd := a.newCommand("milter --config FILE", "Filter the mail of a mail server", milterLong, func() error { return a.filter(file) })
	configFlag(cmd, &file)
	return cmd
}

// errNoMilter says that a configuration has no filter.
var errNoMilter = &usageError{msg: "the configuration has no [milter] with an address", hints: []string{"docs/mailproxy.toml has one"}}

// filter serves mail servers until it is told to end.
func (a *app) filter(file string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	conf, err := config.Read(file)
	if err != nil {
		return err
	}
	if conf.Milter.Address == "" {
		return errNoMilter
	}
	var level slog.LevelVar
	level.Set(conf.Log.Level)
	log := slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: &level}))
	f := &filterServer{log: log, memory: facts.NewMemory(), open: make(map[net.Conn]bool)}
	if err = f.start(conf); err != nil {
		return err
	}
	defer f.drain()
	tellSystem(log, "READY=1", "STATUS=Filtering")
	for sig := range signals {
		if sig != syscall.SIGHUP {
			log.Info("stopping", "signal", sig.String())
			break
		}
		tellSystem(log, "RELOADING=1")
		if conf, err = config.Read(file); err == nil {
			err = f.load(conf)
		}
		if err != nil {
			log.Error("the new configuration is wrong, and the old one stays", "error", err.Error())
		} else {
			level.Set(conf.Log.Level)
			log.Info("reloaded")
		}
		tellSystem(log, "READY=1", "STATUS=Filtering")
	}
	tellSystem(log, "STOPPING=1")
	return nil
}

// A filterServer listens to mail servers.
type filterServer struct {
	log      *slog.Logger
	memory   facts.Store // where no file is configured
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup // of connections and the accept loop

	mu    sync.Mutex
	state *filterState
	open  map[net.Conn]bool
}

// A filterState is what comes of one configuration.
type filterState struct {
	conf     *config.Config
	accounts *account.Set
	file     *facts.Database // or nil
	filter   *milter.Filter
	users    int // connections, and one while it is the current state; of filterServer.mu
}

func (s *filterState) close() {
	_ = s.accounts.Close() // everything was read
	if s.file != nil {
		_ = s.file.Close() // what was written is written
	}
}

// start listens, and begins to serve.
func (f *filterServer) start(conf *config.Config) error {
	if err := f.load(conf); err != nil {
		return err
	}
	l, err := listenMilter(conf.Milter.Address)
	if err != nil {
		f.state.close()
		return &listenError{conf.Milter.Address, err}
	}
	f.listener = l
	f.ctx, f.cancel = context.WithCancel(context.Background())
	log.SetOutput(slog.NewLogLogger(f.log.Handler(), slog.LevelDebug).Writer()) // go-milter's, about connections that end
	f.log.Info("listening", "protocol", "milter", "address", conf.Milter.Address)
	f.wg.Go(f.accept)
	return nil
}

// listenMilter opens the socket. One in the file system is for the user and the
// group of this process; what an earlier process left there is removed.
func listenMilter(address string) (net.Listener, error) {
	name, ok := strings.CutPrefix(address, config.Unix)
	if !ok {
		return net.Listen("tcp", address)
	}
	if info, err := os.Lstat(name); err == nil && info.Mode().Type() == fs.ModeSocket {
		if conn, dialErr := net.Dial("unix", name); dialErr == nil {
			_ = conn.Close()
			return nil, fs.ErrExist // somebody listens there
		}
		if err = os.Remove(name); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, err
	}
	if err = os.Chmod(name, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// load puts a configuration in the place of the current one, or changes nothing
// when it returns an error.
func (f *filterServer) load(conf *config.Config) error {
	ctx := context.Background()
	s := &filterState{conf: conf, users: 1}
	var err error
	if s.accounts, err = account.Open(ctx, conf); err != nil {
		return err
	}
	memory := f.memory
	if conf.IMAP.Facts != "" {
		if s.file, err = facts.Open(ctx, conf.IMAP.Facts); err != nil {
			return errors.Join(err, s.accounts.Close())
		}
		memory = s.file
	}
	s.filter = &milter.Filter{
		Sealer: &outgoing.Sealer{Rules: conf.Policy, Tags: policy.Tags{Sign: conf.Tags.Sign, Encrypt: conf.Tags.Encrypt, Field: conf.Tags.Field},
			Replies: conf.Sending.Replies, Memory: memory, Headers: conf.Sending.Headers, MaxMessage: conf.Limits.Message, SpoolDir: conf.Server.Spool},
		Keys: s.accounts.Keys, Owner: s.accounts.Owner, Trusted: prefixes(conf.Milter.Trusted),
		MaxRecipients: conf.Limits.Recipients, Log: f.log,
	}
	f.mu.Lock()
	old := f.state
	f.state = s
	f.mu.Unlock()
	if old != nil {
		f.release(old)
	}
	return nil
}

func prefixes(list []config.Network) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i := range list {
		out[i] = list[i].Prefix
	}
	return out
}

// release ends a use of a state.
func (f *filterServer) release(s *filterState) {
	f.mu.Lock()
	s.users--
	last := s.users == 0
	f.mu.Unlock()
	if last {
		s.close()
	}
}

func (f *filterServer) accept() {
	pause := firstPause
	for {
		conn, err := f.listener.Accept()
		if err == nil {
			pause = firstPause
			f.begin(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		f.log.Error("a connection cannot be accepted", "address", f.listener.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-f.ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// begin serves a connection, or closes it when there are too many.
func (f *filterServer) begin(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	if len(f.open) >= s.conf.Limits.Connections || f.ctx.Err() != nil {
		f.log.Warn("a connection was refused: there are too many")
		_ = conn.Close() // nothing was said
		return
	}
	f.open[conn] = true
	s.users++
	f.wg.Go(func() {
		s.filter.ServeConn(f.ctx, conn)
		f.mu.Lock()
		delete(f.open, conn)
		f.mu.Unlock()
		f.release(s)
	})
}

// drain stops listening, lets messages end, and closes the connections that are
// still there when the time for that is over.
func (f *filterServer) drain() {
	_ = f.listener.Close() // there is nothing to lose
	f.cancel()
	f.mu.Lock()
	s := f.state
	f.mu.Unlock()
	timer := time.AfterFunc(time.Duration(s.conf.Server.Drain), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for conn := range f.open {
			_ = conn.Close() // its time is over
		}
	})
	defer timer.Stop()
	f.wg.Wait()
	f.release(s)
	f.log.Info("stopped")
}
