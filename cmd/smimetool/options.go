package main

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/internal/alg"
)

// isRSA reports whether a key is for RSA: RSA-PSS is for these alone.
func isRSA(key crypto.Signer) bool {
	_, ok := key.Public().(*rsa.PublicKey)
	return ok
}

func digestList() []string { return alg.DigestNames() }
func digestNames() string  { return strings.Join(digestList(), ", ") }
func cipherNames() string  { return strings.Join(alg.CipherNames(), ", ") }

// signingDigest returns the digest of a name, 0 for "".
func signingDigest(name string) (crypto.Hash, error) {
	if name == "" {
		return 0, nil
	}
	d, ok := alg.DigestByName(name)
	switch {
	case !ok:
		return 0, &usageError{"there is no digest " + quote(name), []string{"the digests are: " + digestNames()}}
	case d.Weak != "":
		return 0, &usageError{"the digest " + d.Name + " is broken, and only for reading old messages", []string{"the digests are: " + digestNames()}}
	}
	return d.Hash, nil
}

// contentCipher returns the cipher of a name, "" for "".
func contentCipher(name string) (cms.Cipher, error) {
	if name == "" {
		return "", nil
	}
	c, ok := alg.CipherByName(name)
	switch {
	case !ok:
		return "", &usageError{"there is no cipher " + quote(name), []string{"the ciphers are: " + cipherNames()}}
	case c.Weak != "":
		return "", &usageError{"the cipher " + c.Name + " is weak, and only for reading old messages", []string{"the ciphers are: " + cipherNames()}}
	}
	return cms.Cipher(c.Name), nil
}

// allowExpired is the allowance for certificates that are past their time.
const allowExpired = "expired"

var allowances = []string{
	string(cms.AllowSHA1), string(cms.AllowMD5), string(cms.AllowMD4), string(cms.AllowDSA), string(cms.Allow3DES),
	string(cms.AllowRC2), string(cms.AllowDES), string(cms.AllowRSA1024), allowExpired,
}

// An allowFlag is --allow: what is off by default and may pass.
type allowFlag struct{ names []string }

func (f *allowFlag) register(cmd *cobra.Command) {
	cmd.Flags().Var(f, "allow", "accept what is off by default (repeatable): "+strings.Join(allowances, ", "))
	complete(cmd, "allow", allowances)
}

// String, Type and Set implement pflag.Value.
func (f *allowFlag) String() string { return strings.Join(f.names, ",") }

// Type implements pflag.Value.
func (f *allowFlag) Type() string { return "NAME" }

// Set implements pflag.Value.
func (f *allowFlag) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(allowances, name) {
			return errors.New("nothing of this name can be allowed; the names are: " + strings.Join(allowances, ", "))
		}
		f.names = append(f.names, name)
	}
	return nil
}

func (f *allowFlag) expired() bool { return slices.Contains(f.names, allowExpired) }

// cms returns the allowances that package cms knows.
func (f *allowFlag) cms() []cms.Allowance {
	var out []cms.Allowance
	for _, name := range f.names {
		if name != allowExpired {
			out = append(out, cms.Allowance(name))
		}
	}
	return out
}

// outputFlag is -o.
func outputFlag(cmd *cobra.Command, path *string, what string) {
	cmd.Flags().StringVarP(path, "output", "o", "", "write "+what+" to `FILE`; - is the standard output")
	markFiles(cmd, "output")
}

func passphraseFlag(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.secret.file, "passphrase-file", "", "the passphrase is the first line of `FILE`")
	markFiles(cmd, "passphrase-file")
}

// markFiles has shells complete the names of files.
func markFiles(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		_ = cmd.MarkFlagFilename(name) // an error would say that there is no such flag
	}
}

// complete has shells complete words.
func complete(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
