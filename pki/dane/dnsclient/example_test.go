package dnsclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

// Example asks the resolver of the system. It needs the network and is not run.
func Example() {
	servers, err := dnsclient.SystemServers(dnsclient.ResolvConf)
	if err != nil {
		log.Fatal(err)
	}
	client, err := dnsclient.New(&dnsclient.Options{Servers: servers})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := client.LookupTLSA(context.Background(), "_25._tcp.mx.example.com")
	var failure *dane.LookupError
	switch {
	case errors.As(err, &failure) && failure.Reason == dane.Bogus:
		fmt.Println("somebody interferes, or the zone is broken")
	case err != nil:
		fmt.Println("not known:", err)
	case !answer.Secure:
		fmt.Println("not protected by DNSSEC")
	default:
		fmt.Println(len(dane.Usable(answer.Records, dane.DANETA, dane.DANEEE)), "records that SMTP can use")
	}
}
