package dane

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Type is a type of DNS record that holds a [Record].
type Type uint16

// The types (RFC 6698, Section 7.1; RFC 8162, Section 8).
const (
	TLSA   Type = 52
	SMIMEA Type = 53
)

// String returns the mnemonic, "TLSA" or "SMIMEA", or "TYPE" and the number (RFC
// 3597, Section 5).
func (t Type) String() string {
	switch t {
	case TLSA:
		return "TLSA"
	case SMIMEA:
		return "SMIMEA"
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// Text returns r as it is written in a zone file (RFC 1035, Section 5.1), under a
// name that was made by [TLSAName] or [SMIMEAName], without a dot at its end. The
// text ends with LF; longer data is on several lines. A ttl of less than a second
// leaves it to the zone.
func (t Type) Text(name string, ttl time.Duration, r Record) string {
	head := fmt.Sprintf("%d %d %d", uint8(r.Usage), uint8(r.Selector), uint8(r.MatchingType))
	return owner(name, ttl) + t.String() + " " + head + " " + hexLines(r.Data) + "\n"
}

// Generic is Text for servers that do not know the type (RFC 3597, Section 5).
func (t Type) Generic(name string, ttl time.Duration, r Record) string {
	rdata := append([]byte{byte(r.Usage), byte(r.Selector), byte(r.MatchingType)}, r.Data...)
	return fmt.Sprintf("%sTYPE%d \\# %d %s\n", owner(name, ttl), uint16(t), len(rdata), hexLines(rdata))
}

func owner(name string, ttl time.Duration) string {
	// RFC 2181, Section 8: a TTL has 31 bits.
	if seconds := min(int64(ttl/time.Second), 1<<31-1); seconds > 0 {
		return fmt.Sprintf("%s. %d IN ", name, seconds)
	}
	return name + ". IN "
}

// hexLines writes data in lines of 32 octets, in parentheses if there are several.
func hexLines(data []byte) string {
	const most = 32
	if len(data) <= most {
		return hex.EncodeToString(data)
	}
	var out strings.Builder
	out.WriteString("(")
	for len(data) > 0 {
		n := min(most, len(data))
		out.WriteString("\n\t" + hex.EncodeToString(data[:n]))
		data = data[n:]
	}
	out.WriteString(" )")
	return out.String()
}
