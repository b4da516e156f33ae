package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/postseal/postseal/internal/policy"
	"github.com/postseal/postseal/smime"
	"github.com/postseal/postseal/tls"
	tlspolicy "github.com/postseal/postseal/tls/policy"
)

// A Config is a whole configuration, with all defaults filled in.
type Config struct {
	Server       Server       `toml:"server"`
	Log          Log          `toml:"log"`
	Metrics      Metrics      `toml:"metrics"`
	Listeners    []Listener   `toml:"listener"`
	Domains      []Domain     `toml:"domain"`
	DNS          DNS          `toml:"dns"`
	PKCS11       PKCS11       `toml:"pkcs11"`
	LDAP         []LDAP       `toml:"ldap"`
	Accounts     []Account    `toml:"account"`
	Rules        []Rule       `toml:"rule"`
	Tags         Tags         `toml:"tags"`
	Sending      Sending      `toml:"sending"`
	Trust        Trust        `toml:"trust"`
	Revocation   Revocation   `toml:"revocation"`
	Certificates Certificates `toml:"certificates"`
	IMAP         IMAP         `toml:"imap"`
	Limits       Limits       `toml:"limits"`
	Milter       Milter       `toml:"milter"`

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

// Ways in which connections are led to a transparent Listener.
const (
	Redirect = "redirect" // REDIRECT of netfilter: the kernel is asked where they were going
	TProxy   = "tproxy"   // TPROXY of netfilter: they still have the address they were going to
)

// Who may send mail through an SMTP listener.
const (
	LoginRequired = "required"
	LoginOptional = "optional"
)

// A Listener takes connections of one protocol for one upstream.
type Listener struct {
	Protocol string   `toml:"protocol"` // SMTP or IMAP4
	Address  string   `toml:"address"`  // host:port; the host may be empty, the port 0
	Mode     tls.Mode `toml:"mode"`     // not OpportunisticStartTLS
	// Certificate and Key are files; or SelfMade is one with both, which is made
	// when it is not there; or Authority is one with the certificate and key of an
	// authority, which issues a certificate for each name that clients ask for.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	SelfMade    string `toml:"self_made"`
	Authority   string `toml:"authority"`
	// Staple has OCSP responses for the certificate fetched and shown.
	Staple bool `toml:"staple"`
	// Login is LoginRequired or, for SMTP alone, LoginOptional.
	Login string `toml:"login"`
	// ProxyFrom are those who begin with the PROXY protocol.
	ProxyFrom []Network `toml:"proxy_from"`
	// Transparent is Redirect, TProxy or "". Destinations are the addresses that
	// such connections may go to, and Ports the ports: those of protocol and mode
	// by default.
	Transparent  string    `toml:"transparent"`
	Destinations []Network `toml:"destinations"`
	Ports        []uint16  `toml:"ports"`
	Upstream     Upstream  `toml:"upstream"`
}

// Ways in which a mail server is found.
const (
	FindHost        = "host"        // it is Upstream.Host
	FindSRV         = "srv"         // by the SRV records of Upstream.Domain (RFC 6186)
	FindLogin       = "login"       // by the domain of the login name, which is one of Config.Domains
	FindDestination = "destination" // it is where the connection was going
)

// What an upstream is told of the address of a client, and how.
const (
	TellNothing = "none"
	TellProxyV1 = "proxy-v1"
	TellProxyV2 = "proxy-v2"
	TellXCLIENT = "xclient" // Postfix, SMTP
	TellID      = "id"      // Dovecot, IMAP
)

// A Place is where a mail server is.
type Place struct {
	Host string   `toml:"host"`
	Port int      `toml:"port"` // that of protocol and mode by default
	Mode tls.Mode `toml:"mode"`
	Name string   `toml:"name"` // in its certificate; Host by default
	Protection
}

// A Protection says whom a connection to a mail server may be with.
type Protection struct {
	CA     string           `toml:"ca"`     // file with certificates trusted for it beside the system's
	Policy tlspolicy.Policy `toml:"policy"` // neither MTA-STS, which is for MX, nor opportunistic
	Pins   []tlspolicy.Pin  `toml:"pins"`
}

// An Upstream is a mail server, or how it is found.
type Upstream struct {
	Place
	Find          string   `toml:"find"`
	Domain        string   `toml:"domain"`         // for FindSRV
	Targets       []string `toml:"targets"`        // hosts that its SRV records may name
	ClientAddress string   `toml:"client_address"` // TellNothing and so on
}

// A Domain is one of login names, and where its mail servers are. Without a Place
// they are found by SRV records.
type Domain struct {
	Name       string   `toml:"name"`
	SMTP       *Place   `toml:"smtp"`
	IMAP       *Place   `toml:"imap"`
	Targets    []string `toml:"targets"` // hosts that its SRV records may name
	Protection          // of those that are found by SRV records
}

// DNS says who is asked.
type DNS struct {
	// Resolver is that of the system when it is zero. DNSSEC counts when it is on
	// a loopback address and validates.
	Resolver netip.AddrPort `toml:"resolver"`
}

// PKCS11 is about tokens.
type PKCS11 struct {
	Module string `toml:"module"` // the only one that is loaded; "": those that URIs name
}

// A Network is a range of addresses, such as 192.0.2.0/24, or one address.
type Network struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Network) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil && a.Zone() == "" {
		n.Prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	n.Prefix = p.Masked()
	return err
}

// Contains reports whether an address is in one of several networks.
func Contains(list []Network, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(n Network) bool { return n.Contains(a.Unmap()) })
}

// When the keys of an Account are unlocked.
const (
	UnlockStart = "start"
	UnlockLogin = "login" // by the password of the login, for as long as there are connections
)

// An Account is a person whose keys are used.
type Account struct {
	Login     string   `toml:"login"` // the name at the mail server, exactly
	Addresses []string `toml:"addresses"`
	Store     string   `toml:"store"`
	// Identities are files with identities, or URIs of PKCS #11, beside those of
	// Store.
	Identities []string `toml:"identities"`
	// Passphrase is a file whose first line is the passphrase of Store and of
	// Identities, or the PIN of a token.
	Passphrase string `toml:"passphrase_file"`
	Unlock     string `toml:"unlock"`
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

// Milter is the filter for mail servers; none without an address.
type Milter struct {
	Address string `toml:"address"` // host:port, or "unix:" and the name of a socket
	// Trusted are hosts whose mail is that of the account of its sender, although
	// nobody has logged in.
	Trusted []Network `toml:"trusted"`
}

// Unix begins the address of a Milter that is a socket in the file system.
const Unix = "unix:"

// Sending says more about what is sent.
type Sending struct {
	Headers smime.HeaderPolicy `toml:"headers"` // of what is encrypted
	Replies policy.Replies     `toml:"replies"`
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
	SourceLDAP   = "ldap"
	SourceFolder = "folder"
)

// An LDAP is a directory of certificates.
type LDAP struct {
	URL      string `toml:"url"`           // RFC 4516
	CA       string `toml:"ca"`            // file with certificates trusted for it beside the system's
	Password string `toml:"password_file"` // its first line is the password of the bindname in URL
}

// Certificates says where those of recipients come from.
type Certificates struct {
	Sources []string `toml:"sources"`
	Timeout Duration `toml:"timeout"` // of each
	Folder  string   `toml:"folder"`  // file or folder of SourceFolder
	Harvest bool     `toml:"harvest"` // remember those of verified mail in the account's store
}

// What becomes of messages that clients store.
const (
	KeepAsIs   = "as-is"
	KeepSigned = "signed"           // in the name of the sender
	KeepSealed = "encrypted"        // to the account itself
	KeepBoth   = "signed+encrypted" // both
)

// IMAP says how messages are shown.
type IMAP struct {
	Service    string `toml:"service"` // authserv-id (RFC 8601); Server.Name by default
	TagSubject bool   `toml:"tag_subject"`
	Facts      string `toml:"facts"` // file of what was decided of messages; "": in memory
	// Undecrypted is the end of login names for mail as it is stored; "": none.
	Undecrypted string `toml:"undecrypted"`
	// Sent and Drafts say what becomes of messages that are stored there: KeepAsIs
	// and so on.
	Sent   string `toml:"sent"`
	Drafts string `toml:"drafts"`
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
	Login       Duration `toml:"login"` // until a client has logged in, where it has to
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
		Sending:      Sending{Headers: smime.HeadersVisible},
		IMAP:         IMAP{Sent: KeepAsIs, Drafts: KeepAsIs},
		Trust:        Trust{Store: true},
		Revocation:   Revocation{Mode: RevocationSoft},
		Certificates: Certificates{Sources: []string{SourceStore}, Timeout: Duration(10 * time.Second), Harvest: true},
		Limits: Limits{Connections: 1000, Message: 100 << 20, Recipients: 1000, IdleSMTP: Duration(5 * time.Minute),
			IdleIMAP: Duration(30 * time.Minute), Handshake: Duration(30 * time.Second), Login: Duration(3 * time.Minute)},
	}
}
