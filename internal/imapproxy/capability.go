package imapproxy

import (
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/saslrelay"
)

// passing are the capabilities that can be kept true for every account. What is not
// here is not advertised: COMPRESS would hide everything from us; referrals lead
// around us; UNAUTHENTICATE lets others in.
var passing = []string{
	"IMAP4REV1", "SASL-IR", "ENABLE", "ID", "IDLE", "NAMESPACE", "LITERAL+", "LITERAL-", "UIDPLUS", "UNSELECT", "CHILDREN",
	"MULTIAPPEND", "MOVE", "CONDSTORE", "QRESYNC", "ESEARCH", "ESORT", "SEARCHRES", "WITHIN", "SORT", "SORT=DISPLAY", "LIST-EXTENDED", "LIST-STATUS",
	"LIST-MYRIGHTS", "LIST-METADATA", "SPECIAL-USE", "CREATE-SPECIAL-USE", "QUOTA", "QUOTASET", "ACL", "METADATA", "METADATA-SERVER", "OBJECTID", "SAVEDATE",
	"BINARY", "APPENDLIMIT", "I18NLEVEL=1", "INPROGRESS", "X-NETSCAPE", "THREAD", "NOTIFY", "PREVIEW", "PARTIAL",
}

// asStored are those that are true for accounts whose mail is shown as it is stored,
// and for no others: CATENATE, URLAUTH, CONVERT and REPLACE use content by ways that
// are not watched; SNIPPET, STATUS=SIZE and SEARCH=FUZZY are about text and sizes as
// they are stored; UTF8=ACCEPT and IMAP4rev2 change the form of answers, and UIDONLY
// the numbers in them.
var asStored = []string{
	"CATENATE", "URL-PARTIAL", "URLAUTH", "URLAUTH=BINARY", "CONVERT", "REPLACE", "SNIPPET=FUZZY", "PREVIEW=FUZZY", "STATUS=SIZE", "SEARCH=FUZZY",
	"UTF8=ACCEPT", "IMAP4REV2", "UIDONLY", "MULTISEARCH", "X-GM-EXT-1", "XLIST",
}

// prefixes are the beginnings of capabilities with parameters.
var prefixes = []string{"THREAD=", "RIGHTS=", "QUOTA=RES-", "APPENDLIMIT=", "CONTEXT=", "MESSAGELIMIT=", "SAVELIMIT="}

// A view is what a client may see of the capabilities, at its point in the
// conversation.
type view struct {
	startTLS bool // we offer STARTTLS now
	login    bool // a client may log in now
	asStored bool // it has logged in, and its mail is shown as it is stored
}

// filter returns the capabilities that a client sees.
func (v view) filter(words []string) []string {
	var offers []string
	for _, word := range words {
		if mechanism, ok := strings.CutPrefix(upper(word), "AUTH="); ok {
			offers = append(offers, mechanism)
		}
	}
	offers = saslrelay.Offered(offers)
	var out []string
	for _, word := range words {
		name := upper(word)
		mechanism, isAuth := strings.CutPrefix(name, "AUTH=")
		switch {
		case isAuth:
			if v.login && slices.Contains(offers, mechanism) {
				out = append(out, word)
			}
		case slices.Contains(passing, name), v.asStored && slices.Contains(asStored, name), slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }):
			out = append(out, word)
		}
	}
	if v.startTLS {
		out = append(out, "STARTTLS")
	}
	if !v.login {
		out = append(out, "LOGINDISABLED")
	}
	return out
}

// filterLine rewrites the capabilities in a response: "* CAPABILITY ..." or the
// code [CAPABILITY ...] of a status response. Other lines stay as they are.
func (v view) filterLine(line []byte) []byte {
	text := string(line)
	body := strings.TrimRight(text, "\r\n")
	end := text[len(body):]
	if head, list, ok := cutFold(body, "* CAPABILITY "); ok && head == "" {
		return []byte("* CAPABILITY " + strings.Join(v.filter(strings.Fields(list)), " ") + end)
	}
	before, rest, ok := cutFold(body, " [CAPABILITY ")
	list, after, closed := strings.Cut(rest, "]")
	word, _ := cutWord([]byte(rest))
	if !ok || !closed || word == "" || strings.Count(before, " ") > 1 {
		return line
	}
	return []byte(before + " [CAPABILITY " + strings.Join(v.filter(strings.Fields(list)), " ") + "]" + after + end)
}

// cutFold is strings.Cut without regard to case, in ASCII.
func cutFold(s, sep string) (before, after string, found bool) {
	if i := strings.Index(upper(s), upper(sep)); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
