/*
Package mtasts finds and keeps the policies by which domains say that their mail
servers have TLS, and which servers these are: MTA-STS.

	client, err := mtasts.New(&mtasts.Options{Resolver: resolver, Cache: cache})
	result, err := client.Lookup(ctx, "example.org")
	if result.Policy != nil && result.Policy.Mode == mtasts.Enforce {
		// deliver to hosts that result.Policy.Matches alone, by TLS, with a
		// certificate for the host that PKIX vouches for
	}

It implements RFC 8461. What a sender makes of a policy is done by package policy.

# Security

  - A policy comes over HTTPS from the host "mta-sts" of the domain, with a
    certificate for that name; redirects are not followed, and proxies of the
    environment not used. It has at most 64 KiB, and 128 patterns.
  - What has once been found stays in force until it expires, whatever becomes of
    the TXT record or of the web server afterwards: who can remove them cannot
    remove the policy. Only a newer policy takes its place.
  - The cache is bounded. When it is full, policies that have expired make room, and
    then those that ask for nothing; a policy in mode "enforce" that is in force is
    never pushed out, so that nobody can flush it with domains of his own.
  - A cache that cannot be read is an error, and not an empty cache.
  - What is said before the first contact is as good as the DNS: RFC 8461, Section
    10.2. A record that is not known, since the DNS gives no answer or one whose
    signatures are wrong, is an error. A web server that gives no policy away counts
    as if there were none, as Section 3.3 demands.

# Compatibility

Lines of a policy may end in LF, as they do with many domains, and empty lines are
passed over. Of fields that come twice, but for "mx", the first one counts, and
unknown ones are ignored.
*/
package mtasts
