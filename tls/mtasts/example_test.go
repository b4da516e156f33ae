package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/tls/mtasts"
)

// The file at https://mta-sts.example.org/.well-known/mta-sts.txt.
func ExampleParsePolicy() {
	p, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmx: mx.example.org\nmx: *.backup.example\nmax_age: 1209600\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Mode, p.MaxAge, p.Matches("mx.example.org"), p.Matches("a.backup.example"), p.Matches("evil.example"))
	_, err = mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmax_age: 1209600\n"))
	fmt.Println(err)
	// Output:
	// enforce 336h0m0s true true false
	// the field "mx" of the MTA-STS policy is missing
}

// The TXT record at _mta-sts.example.org.
func ExampleParseRecord() {
	id, err := mtasts.ParseRecord([]string{"v=spf1 -all", "v=STSv1; id=20261126T120000;"})
	fmt.Println(id, err)
	_, err = mtasts.ParseRecord([]string{"v=spf1 -all"})
	fmt.Println(errors.Is(err, mtasts.ErrNoRecord))
	// Output:
	// 20261126T120000 <nil>
	// true
}

// noRecords is a resolver for which no domain has a policy. A real one is a
// dnsclient.Client.
type noRecords struct{ dane.Resolver }

func (noRecords) LookupTXT(_ context.Context, name string) (*dane.Answer[string], error) {
	return &dane.Answer[string]{Name: name}, nil
}

// A program that stays has a folder for what it knows: see OpenCache.
func ExampleClient_Lookup() {
	client, err := mtasts.New(&mtasts.Options{Resolver: noRecords{}, Cache: mtasts.NewMemoryCache(nil),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }})
	if err != nil {
		log.Fatal(err)
	}
	result, err := client.Lookup(context.Background(), "Example.ORG")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result, result.Policy == nil)
	// Output: example.org has no MTA-STS policy true
}
