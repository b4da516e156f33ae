package tls

import (
	cryptotls "crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// A Profile is a set of versions, ciphers and curves: those of Mozilla's
// "Server Side TLS" (version 5.7), as far as crypto/tls has them. All of them
// have hybrid post-quantum key exchange, which Mozilla's do not have yet.
type Profile string

// The profiles.
const (
	// Modern is TLS 1.3 alone.
	Modern Profile = "modern"
	// Intermediate is TLS 1.2 and 1.3 with forward secrecy and AEAD ciphers. It
	// is right for mail.
	Intermediate Profile = "intermediate"
	// Old is TLS 1.0 to 1.3, with CBC ciphers, Triple-DES and RSA key exchange,
	// for peers from before 2012. It lets an attacker choose weak things.
	Old Profile = "old"
)

// Profiles returns all profiles, the strictest first.
func Profiles() []Profile { return []Profile{Modern, Intermediate, Old} }

// ParseProfile returns the profile with a name; upper and lower case are the
// same. The error is a *ConfigError.
func ParseProfile(name string) (Profile, error) {
	p := Profile(strings.ToLower(name))
	if !slices.Contains(Profiles(), p) {
		return "", &ConfigError{Field: "Profile", Problem: fmt.Sprintf("%q is not known", name)}
	}
	return p, nil
}

// Config returns a new configuration with nothing but the profile. That of a
// name that is not a profile's is Intermediate.
func (p Profile) Config() *cryptotls.Config {
	c := new(cryptotls.Config)
	p.Apply(c)
	return c
}

// Apply sets MinVersion, MaxVersion, CipherSuites and CurvePreferences of a
// configuration that nobody uses yet, and leaves the rest.
func (p Profile) Apply(c *cryptotls.Config) {
	c.MinVersion, c.MaxVersion = cryptotls.VersionTLS12, 0
	c.CurvePreferences = slices.Clone(curves)
	c.CipherSuites = slices.Clone(intermediateSuites)
	switch p {
	case Modern:
		c.MinVersion = cryptotls.VersionTLS13
		c.CipherSuites = nil // crypto/tls does not choose among those of TLS 1.3
	case Old:
		c.MinVersion = cryptotls.VersionTLS10
		c.CipherSuites = append(c.CipherSuites, oldSuites...)
	}
}

// curves has the hybrids first, although crypto/tls orders for itself.
var curves = []cryptotls.CurveID{
	cryptotls.X25519MLKEM768, cryptotls.SecP256r1MLKEM768,
	cryptotls.X25519, cryptotls.CurveP256, cryptotls.CurveP384,
}

var intermediateSuites = []uint16{
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	cryptotls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

var oldSuites = []uint16{
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	cryptotls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	cryptotls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	cryptotls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	cryptotls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	cryptotls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	cryptotls.TLS_RSA_WITH_AES_128_CBC_SHA,
	cryptotls.TLS_RSA_WITH_AES_256_CBC_SHA,
	cryptotls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
}
