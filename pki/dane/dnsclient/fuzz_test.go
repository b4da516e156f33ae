package dnsclient

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzAnswer reads any octets as an answer: they are an error, or what is taken
// from them belongs to the question.
func FuzzAnswer(f *testing.F) {
	query := question{name: "name.example.", kind: dns.TypeSMIMEA, checking: true}.message()
	query.Id, query.Question[0].Name = 1, "name.example."
	for _, lines := range [][]string{{"name.example. 60 IN SMIMEA 3 1 1 ab"},
		{"name.example. 60 IN CNAME a.example.", "a.example. 60 IN CNAME name.example."},
		{"name.example. 60 IN CNAME a.example.", "a.example. 4294967295 IN SMIMEA 3 1 1 ab"}} {
		m := new(dns.Msg).SetReply(query)
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := parse(wire, query)
		if err != nil {
			return
		}
		if m.Id != query.Id || !m.Response {
			t.Fatalf("an answer to another question: %v", m)
		}
		aliases := maxAliases
		r := &result{name: "name.example."}
		done, err := r.take(m, dns.TypeSMIMEA, true, &aliases)
		if err != nil {
			return
		}
		if aliases < 0 || !done && r.name == "name.example." {
			t.Fatalf("%d aliases, done: %v", maxAliases-aliases, done)
		}
		for _, rr := range r.records {
			if _, ok := rr.(*dns.SMIMEA); !ok || dns.CanonicalName(rr.Header().Name) != r.name {
				t.Fatalf("%v is not for %s", rr, r.name)
			}
		}
		if r.ttl < 0 || len(r.records) > len(wire) {
			t.Fatalf("%+v", r)
		}
	})
}
