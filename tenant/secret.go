package tenant

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the wire contract's checksum
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
)

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	upperDigits  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// randomString returns n characters of alphabet, each equally likely.
func randomString(n int, alphabet string) string {
	limit := 256 - 256%len(alphabet) // bytes from here on would favour the first characters
	var b strings.Builder
	buf := make([]byte, n+n/4+8)
	for b.Len() < n {
		_, _ = rand.Read(buf) // never fails: crypto/rand ends the process instead
		for _, c := range buf {
			if int(c) < limit && b.Len() < n {
				b.WriteByte(alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return b.String()
}

func newAPIAccessKey() string { return "SCW" + randomString(17, upperDigits) }

// checksum is SHA-1 in hex because the control plane's contract says so; it
// protects nothing.
func checksum(secret string) string {
	sum := sha1.Sum([]byte(secret)) //nolint:gosec // the wire contract's checksum, of a secret of 64 random characters
	return hex.EncodeToString(sum[:])
}

func tokenHash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// newAccountKey returns an account key pair, its public key and its seed.
func newAccountKey() (public string, seed []byte, err error) {
	kp, err := nkeys.CreateAccount()
	if err != nil {
		return "", nil, err
	}
	if public, err = kp.PublicKey(); err != nil {
		return "", nil, err
	}
	seed, err = kp.Seed()
	return public, seed, err
}

// maxJWTName is how many characters of a credential's name its JWT carries.
const maxJWTName = 64

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// newUser makes a user of an account, signed by its signing key, with every
// right inside the account, and returns the user's public key and .creds file.
// The JWT carries as much of name as leaves it well below the 4 KiB of the one
// line that a client sends it in, whatever the characters.
func newUser(accountID, name string, signingSeed []byte) (public string, creds mnq.Secret, err error) {
	signing, err := nkeys.FromSeed(signingSeed)
	if err != nil {
		return "", "", err
	}
	defer signing.Wipe()
	user, err := nkeys.CreateUser()
	if err != nil {
		return "", "", err
	}
	defer user.Wipe()
	if public, err = user.PublicKey(); err != nil {
		return "", "", err
	}
	claims := jwt.NewUserClaims(public)
	claims.Name = firstRunes(name, maxJWTName)
	claims.IssuerAccount = accountID
	token, err := claims.Encode(signing)
	if err != nil {
		return "", "", err
	}
	seed, err := user.Seed()
	if err != nil {
		return "", "", err
	}
	file, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return "", "", err
	}
	return public, mnq.Secret(file), nil
}
