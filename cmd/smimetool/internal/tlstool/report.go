package tlstool

import "time"

// A Report is what Probe found. Texts in it are fit for a terminal.
type Report struct {
	Target     string `json:"target"`
	ServerName string `json:"server_name"`
	Address    string `json:"address"` // of the connection, with the port
	Protocol   string `json:"protocol,omitempty"`
	StartTLS   bool   `json:"starttls"`

	Handshake    Handshake     `json:"handshake"`
	Certificates []Certificate `json:"certificates"` // as the server sent them
	Trust        Trust         `json:"trust"`
	OCSP         OCSP          `json:"ocsp"`
	Resumption   Resumption    `json:"resumption"`
	DANE         *DANE         `json:"dane"`    // nil if it was not asked for
	Mail         *Mail         `json:"mail"`    // nil if it is not known whose mail the server takes
	MTASTS       *MTASTS       `json:"mta_sts"` // nil without Mail
	Client       *Client       `json:"client"`  // nil if the DNS was not asked
	Versions     []Offer       `json:"versions"`
	Suites       []Offer       `json:"cipher_suites"` // of TLS 1.2, in the order of the server's choice
	Groups       []Offer       `json:"groups"`        // of key exchange
	Advice       []Advice      `json:"advice"`
}

// A Handshake is what was negotiated with a client that can do everything.
type Handshake struct {
	Version     string `json:"version"`
	CipherSuite string `json:"cipher_suite"`
	Group       string `json:"group,omitempty"`
	PostQuantum bool   `json:"post_quantum"`
	ALPN        string `json:"alpn,omitempty"`
	Timestamps  int    `json:"certificate_timestamps"` // of certificate transparency
	// ClientCertificate tells whether the server asks for one.
	ClientCertificate ClientCertificate `json:"client_certificate"`
	Milliseconds      int64             `json:"milliseconds"` // with what comes before it
}

// A ClientCertificate is what a server wants of clients.
type ClientCertificate struct {
	Requested bool `json:"requested"`
	Required  bool `json:"required"`
	// Authorities are those whose certificates it takes, if it says so.
	Authorities []string `json:"authorities,omitempty"`
	Sent        bool     `json:"sent"`
}

// A Certificate is one of those that a server sent.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	Names     []string  `json:"names,omitempty"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"`
	Signature string    `json:"signature"`
	SHA256    string    `json:"sha256"`
	// TLSA is a record for it: 3 1 1 for the first certificate, 2 1 1 for others.
	TLSA string `json:"tlsa,omitempty"`
}

// Trust says whether the certificate is one for the name, from an authority that
// is trusted here.
type Trust struct {
	Trusted bool     `json:"trusted"`
	NameOK  bool     `json:"name_ok"`
	Path    []string `json:"path,omitempty"` // subjects, from the server to the authority
	Error   string   `json:"error,omitempty"`

	err error
}

// An OCSP is a stapled answer about the certificate (RFC 6066, Section 8).
type OCSP struct {
	Stapled    bool       `json:"stapled"`
	MustStaple bool       `json:"must_staple"` // RFC 7633
	Status     string     `json:"status,omitempty"`
	ThisUpdate *time.Time `json:"this_update,omitempty"`
	NextUpdate *time.Time `json:"next_update,omitempty"`
	Error      string     `json:"error,omitempty"`
}

// A Resumption is what came of a second connection.
type Resumption struct {
	Ticket  bool   `json:"ticket"`
	Resumed bool   `json:"resumed"`
	Error   string `json:"error,omitempty"`
}

// A DANE is what the DNS says about the certificate (RFC 6698).
type DANE struct {
	Name    string   `json:"name"`
	Secure  bool     `json:"secure"` // DNSSEC vouches for it
	Records []string `json:"records"`
	Usable  int      `json:"usable"`
	Matched bool     `json:"matched"`
	Record  string   `json:"record,omitempty"` // that matched
	// Mismatch says why none of the records vouches for the server.
	Mismatch string `json:"mismatch,omitempty"`
	Error    string `json:"error,omitempty"`
}

// A Mail is a domain whose mail the server may take.
type Mail struct {
	Domain string   `json:"domain"`
	MX     []string `json:"mx"`     // preference and host
	Secure bool     `json:"secure"` // DNSSEC vouches for them
	Listed bool     `json:"listed"` // the server is one of them
	Error  string   `json:"error,omitempty"`
}

// An MTASTS is the policy of the domain (RFC 8461).
type MTASTS struct {
	ID     string   `json:"id,omitempty"`
	Mode   string   `json:"mode,omitempty"` // empty if there is none
	MaxAge int64    `json:"max_age,omitempty"`
	MX     []string `json:"mx,omitempty"`
	Listed bool     `json:"listed"` // the policy names the server
	Error  string   `json:"error,omitempty"`

	err error
}

// A Client is one that heeds DANE and MTA-STS: one that delivers mail to the domain,
// if that is known, and takes what there is where nothing else is asked; and else
// one that wants a certificate for the name. See package policy.
type Client struct {
	Connects      bool     `json:"connects"`
	Authenticated bool     `json:"authenticated"`
	Rule          string   `json:"rule,omitempty"`   // policy.Rule
	Reason        string   `json:"reason,omitempty"` // policy.Reason, if it does not connect
	Why           []string `json:"why"`
	Error         string   `json:"error,omitempty"`

	err error
}

// An Offer is something that the server was offered alone.
type Offer struct {
	Name     string `json:"name"`
	Accepted bool   `json:"accepted"`
	// Weak says that nobody should accept it.
	Weak  bool   `json:"weak,omitempty"`
	Error string `json:"error,omitempty"` // how the server declined
}

// A Severity says how urgent advice is.
type Severity string

// The severities.
const (
	Bad     Severity = "bad"     // a client that looks refuses the server, or is not safe
	Warning Severity = "warning" // it will be so soon, or for some
	Note    Severity = "note"    // it could be better
)

// Advice is a sentence about what was found and what to do.
type Advice struct {
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
}

func (r *Report) advise(s Severity, text string) { r.Advice = append(r.Advice, Advice{s, text}) }
