package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/tls"
)

// A Config is a whole configuration, with all defaults filled in.
type Config struct {
	Server       Server       `toml:"server"`
	Log          Log          `toml:"log"`
	Metrics      Metrics      `toml:"metrics"`
	Listeners    []Listener   `toml:"listener"`
	Accounts     []Account    `toml:"account"`
	Rules        []Rule       `toml:"rule"`
	Tags         Tags         `toml:"tags"`
	Trust        Trust        `toml:"trust"`
	Revocation   Revocation   `toml:"revocation"`
	Certificates Certificates `toml:"certificates"`
	IMAP         IMAP         `toml:"imap"`
	Limits       Limits       `toml:"limits"`

	// Policy is what Rules say.
	Policy *policy.Rules `toml:"-"`
}

// Server is about the whole program.
type Server struct {
	Name  string   `toml:"name"`  // of this host, in greetings; the system's by default
	Spool string   `toml:"spool"` // folder of temporary files; "": the system's
	Drain Duration `toml:"drain"` // how long connections may go on after SIGTERM
}

// Log is about the log.
type Log struct {
	Level slog.Level `toml:"level"`
}

// Metrics is the listener of /metrics, /healthz and /readyz; none without an
// address.
type Metrics struct {
	Address string `toml:"address"`
}

// Protocols of a Listener.
const (
	SMTP  = "smtp"
	IMAP4 = "imap"
)

// A Listener takes connections of one protocol for one upstream.
type Listener struct {
	Protocol string   `toml:"protocol"` // SMTP or IMAP4
	Address  string   `toml:"address"`  // host:port; the host may be empty, the port 0
	Mode     tls.Mode `toml:"mode"`     // not OpportunisticStartTLS
	// Certificate and Key are files; or SelfMade is one with both, which is made
	// when it is not there.
	Certificate string   `toml:"certificate"`
	Key         string   `toml:"key"`
	SelfMade    string   `toml:"self_made"`
	Upstream    Upstream `toml:"upstream"`
}

// An Upstream is a mail server.
type Upstream struct {
	Host string   `toml:"host"`
	Port int      `toml:"port"` // that of protocol and mode by default
	Mode tls.Mode `toml:"mode"`
	Name string   `toml:"name"` // in its certificate; Host by default
	CA   string   `toml:"ca"`   // file with certificates trusted for it beside the system's
}

// An Account is a person whose keys are used.
type Account struct {
	Login      string   `toml:"login"` // the name at the mail server, exactly
	Addresses  []string `toml:"addresses"`
	Store      string   `toml:"store"`
	Passphrase string   `toml:"passphrase_file"` // its first line is the passphrase of Store
}

// A Rule is one of the policy.
type Rule struct {
	Sender    string          `toml:"sender"`
	Recipient string          `toml:"recipient"`
	Sign      *policy.Sign    `toml:"sign"`
	Encrypt   *policy.Encrypt `toml:"encrypt"`
}

// Tags are those of package policy.
type Tags struct {
	Sign    string `toml:"sign"`
	Encrypt string `toml:"encrypt"`
	Field   string `toml:"field"`
}

// Trust says whose certificates are good.
type Trust struct {
	Authorities []string `toml:"authorities"` // files, for all accounts
	Store       bool     `toml:"store"`       // the authorities and decisions of an account's store count
}

// Ways in which revocation counts.
const (
	RevocationOff  = "off"
	RevocationSoft = "soft" // what is known to be revoked is refused
	RevocationHard = "hard" // so is what nothing is known of
)

// Revocation says how certificates are checked.
type Revocation struct {
	Mode  string `toml:"mode"`
	Fetch bool   `toml:"fetch"` // CRLs, OCSP and missing issuers, over the network
	Cache string `toml:"cache"` // folder of what was fetched; "" keeps nothing
}

// Sources of certificates.
const (
	SourceStore  = "store"
	SourceSMIMEA = "smimea"
)

// Certificates says where those of recipients come from.
type Certificates struct {
	Sources []string `toml:"sources"`
	Timeout Duration `toml:"timeout"` // of each
	// Resolver is asked by SourceSMIMEA; those of the system when it is zero. It
	// has to validate DNSSEC, and to be on a loopback address.
	Resolver netip.AddrPort `toml:"resolver"`
}

// IMAP says how messages are shown.
type IMAP struct {
	Service    string `toml:"service"` // authserv-id (RFC 8601); Server.Name by default
	TagSubject bool   `toml:"tag_subject"`
}

// Limits bound what clients can ask for.
type Limits struct {
	Connections int      `toml:"connections"`
	PerAddress  int      `toml:"connections_per_address"` // 0: no limit
	Message     int64    `toml:"message"`                 // octets
	Recipients  int      `toml:"recipients"`
	IdleSMTP    Duration `toml:"idle_smtp"`
	IdleIMAP    Duration `toml:"idle_imap"`
	Handshake   Duration `toml:"handshake"`
}

// A Duration is written as "30s" or "5m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// defaults returns what holds where a file says nothing.
func defaults() *Config {
	return &Config{
		Server:       Server{Drain: Duration(30 * time.Second)},
		Tags:         Tags{Sign: "[sign]", Encrypt: "[encrypt]", Field: "X-Postseal"},
		Trust:        Trust{Store: true},
		Revocation:   Revocation{Mode: RevocationSoft},
		Certificates: Certificates{Sources: []string{SourceStore}, Timeout: Duration(10 * time.Second)},
		Limits: Limits{Connections: 1000, Message: 100 << 20, Recipients: 1000, IdleSMTP: Duration(5 * time.Minute),
			IdleIMAP: Duration(30 * time.Minute), Handshake: Duration(30 * time.Second)},
	}
}
