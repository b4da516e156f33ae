package ldap_test

import (
	"fmt"
	"time"

	"github.com/postseal/postseal/keystore"
	"github.com/postseal/postseal/keystore/ldap"
)

// Example makes a source of the directory that an URL names. Nothing is connected
// to before it is asked.
func Example() {
	opts, err := ldap.ParseURL("ldaps://ldap.example.org/ou=people,dc=example,dc=org???(mail={address})")
	if err != nil {
		fmt.Println(err)
		return
	}
	opts.Timeout = 5 * time.Second
	finder, err := ldap.New(opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	sources := &keystore.Chain{Finders: []keystore.Finder{finder}}
	fmt.Println(len(sources.Finders), finder.Source())
	// Output:
	// 1 ldaps://ldap.example.org/ou=people,dc=example,dc=org
}
