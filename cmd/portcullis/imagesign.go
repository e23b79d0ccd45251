package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxFile is what is read of a key, a predicate or a trust configuration: more than an attestation may have.
const maxFile = 16 << 20

// keyFlags say what is signed with.
type keyFlags struct{ file, passwordVariable string }

func (f *keyFlags) register(command *cobra.Command) {
	command.Flags().StringVar(&f.file, "key", "", "private key `file`: made by generate-key-pair or cosign, or PKCS #8")
	f.registerPassword(command)
}

func (f *keyFlags) registerPassword(command *cobra.Command) {
	command.Flags().StringVar(&f.passwordVariable, "password-env", "COSIGN_PASSWORD", "environment `variable` with the password of the private key; without it the terminal asks")
}

func (f *keyFlags) load(p *program) (*cosign.Key, error) {
	if f.file == "" {
		return nil, usagef("there is nothing to sign with: give --key; portcullis image generate-key-pair makes one")
	}
	text, err := readFile("the private key", f.file)
	if err != nil {
		return nil, err
	}
	var password []byte
	if strings.Contains(string(text), "BEGIN ENCRYPTED ") {
		if password, err = f.password(p, "Password of the private key: ", false); err != nil {
			return nil, err
		}
	}
	key, err := cosign.LoadPrivateKey(text, password)
	if err != nil {
		return nil, usagef("--key %s: %w: %s", f.file, err, f.nextKey(text, err))
	}
	return key, nil
}

// nextKey is the next step for a private key that cannot be used.
func (f *keyFlags) nextKey(text []byte, err error) string {
	_, given := os.LookupEnv(f.passwordVariable)
	switch block, _ := pem.Decode(text); {
	case errors.Is(err, cosign.ErrPassword) && given:
		return "correct " + f.passwordVariable
	case errors.Is(err, cosign.ErrPassword):
		return "type it again"
	case block != nil && block.Type == "PUBLIC KEY":
		return "give the private one" + counterpart(f.file, ".pub", ".key")
	default:
		return "give one that portcullis image generate-key-pair or cosign has made, or one in PKCS #8"
	}
}

// counterpart is ", " and the other file of a key pair, by the names that generate-key-pair gives them;
// "" for a file with another name.
func counterpart(name, ending, other string) string {
	if prefix, ok := strings.CutSuffix(name, ending); ok {
		return ", " + prefix + other
	}
	return ""
}

// password is the variable's value, which may be empty, or what somebody types, twice where it is new.
func (f *keyFlags) password(p *program, prompt string, isNew bool) ([]byte, error) {
	if value, ok := os.LookupEnv(f.passwordVariable); ok {
		return []byte(value), nil
	}
	in, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, usagef("there is no password and no terminal to ask at: set %s, which may be empty", f.passwordVariable)
	}
	password, err := p.ask(in, prompt)
	if err != nil || !isNew {
		return password, err
	}
	again, err := p.ask(in, "The same again: ")
	if err == nil && !bytes.Equal(password, again) {
		err = usagef("the passwords differ: try again")
	}
	return password, err
}

// ask reads a line without showing it.
func (p *program) ask(in *os.File, prompt string) ([]byte, error) {
	fmt.Fprint(p.stderr, prompt)
	answer, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(p.stderr)
	return answer, err
}

// readFile reads a file that a flag names.
func readFile(what, name string) ([]byte, error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("reading %s: there is no %s: check the path", what, name)
	}
	if err != nil {
		return nil, usagef("reading %s: %w: make it readable", what, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, usagef("reading %s: %w: name a file", what, err)
	case len(content) > maxFile:
		return nil, usagef("reading %s: %s has more than %d bytes: name a smaller file", what, name, maxFile)
	}
	return content, nil
}

// imageSignFlags are those of portcullis image sign.
type imageSignFlags struct {
	place        placeFlags
	key          keyFlags
	format       string
	annotations  []string
	allPlatforms bool
}

func (p *program) imageSignCommand() *cobra.Command {
	var f imageSignFlags
	command := &cobra.Command{
		Use:   "sign REF…",
		Short: "Sign images with a key",
		Long: `sign signs images that are in a registry, by their digest, and reads the signature back.
Signing again with the same key and annotations replaces the signature.

The format bundle is that of cosign v3: a Sigstore bundle as a referrer of the image. The
format legacy is that of cosign v1 and v2: a tag sha256-….sig. Verification finds both.

` + writingExits,
		Example: `  portcullis image sign ghcr.io/acme/app:1 --key cosign.key
  portcullis image sign ghcr.io/acme/app:1 --key cosign.key --annotation env=prod --all-platforms`,
		Args: pushedImages(),
		RunE: func(command *cobra.Command, args []string) error { return p.imageSign(command.Context(), &f, args) },
	}
	f.place.register(command.Flags())
	f.key.register(command)
	registerFormat(command, &f.format)
	command.Flags().StringArrayVarP(&f.annotations, "annotation", "a", nil, "`key=value` that the signature covers; may be repeated")
	command.Flags().BoolVar(&f.allPlatforms, "all-platforms", false, "sign each manifest of an index, too, for authorities that want all platforms signed")
	return command
}

func registerFormat(command *cobra.Command, format *string) {
	command.Flags().StringVar(format, "signature-format", signer.FormatBundle, "`format` to write: bundle or legacy")
	complete(command, "signature-format", signer.FormatBundle, signer.FormatLegacy)
}

func checkSignatureFormat(format string) error {
	if format != signer.FormatBundle && format != signer.FormatLegacy {
		return usagef("--signature-format %s: use bundle or legacy", format)
	}
	return nil
}

func (p *program) imageSign(ctx context.Context, f *imageSignFlags, arguments []string) error {
	annotations := map[string]string{}
	for _, text := range f.annotations {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return usagef("--annotation %s: write key=value", text)
		}
		annotations[key] = value
	}
	if err := checkSignatureFormat(f.format); err != nil {
		return err
	}
	key, err := f.key.load(p)
	if err != nil {
		return err
	}
	return p.eachImage(ctx, arguments, func(ctx context.Context, argument string) (gate.ExitCode, error) {
		return gate.ExitAdmitted, p.write(ctx, &f.place, argument, f.allPlatforms, func(destination cosign.Destination, target cosign.Target) error {
			attached, err := cosign.Sign(ctx, destination, target, key, cosign.SignOptions{Format: f.format, Annotations: annotations})
			if err == nil {
				p.wrote("signed", target, attached)
			}
			return err
		})
	})
}

// write does something to an image of a registry, and if asked to each of its platforms.
func (p *program) write(ctx context.Context, place *placeFlags, argument string, allPlatforms bool, do func(cosign.Destination, cosign.Target) error) error {
	image, err := place.open(ctx, argument)
	if err != nil {
		return err
	}
	defer image.close()
	destination, ok := image.source.(cosign.Destination)
	if !ok {
		return usagef("%s is on disk, and only images in a registry can be signed or attested: push it first", argument)
	}
	targets := []string{image.target.Digest}
	if allPlatforms {
		platforms, err := cosign.NewVerifier(cosign.Options{}).Platforms(ctx, image.source, image.target)
		if err != nil {
			return err
		}
		targets = append(targets, platforms...)
	}
	for _, digest := range targets {
		if err := do(destination, cosign.Target{Repository: image.target.Repository, Digest: digest}); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) wrote(done string, target cosign.Target, attached cosign.Attached) {
	fmt.Fprintf(p.stdout, "%s %s\n", done, target)
	fmt.Fprintf(p.stderr, "written as %s", attached.Manifest)
	if n := len(attached.Removed); n > 0 {
		fmt.Fprintf(p.stderr, ", %d replaced", n)
	}
	fmt.Fprintln(p.stderr)
	if attached.Leftover != nil {
		fmt.Fprintf(p.stderr, "the predecessors are still there: %s\n", output.Plain(attached.Leftover.Error()))
	}
}

// predicateTypes are short names of predicate types, those that cosign has.
func predicateTypes() map[string]string {
	return map[string]string{
		"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
		"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
		"slsaprovenance1":  "https://slsa.dev/provenance/v1",
		"link":             "https://in-toto.io/Link/v1",
		"spdx":             "https://spdx.dev/Document",
		"spdxjson":         "https://spdx.dev/Document",
		"cyclonedx":        "https://cyclonedx.org/bom",
		"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
		"openvex":          "https://openvex.dev/ns",
		"custom":           "https://cosign.sigstore.dev/attestation/v1",
	}
}

// predicateType reads --type.
func predicateType(text string) (string, error) {
	if full, ok := predicateTypes()[text]; ok {
		return full, nil
	}
	if !strings.Contains(text, ":") {
		return "", usagef("--type %s: use a URI, or one of %s", text, strings.Join(slices.Sorted(maps.Keys(predicateTypes())), ", "))
	}
	return text, nil
}

// imageAttestFlags are those of portcullis image attest.
type imageAttestFlags struct {
	place                           placeFlags
	key                             keyFlags
	format, kind, predicate, output string
	keep                            bool
}

func (p *program) imageAttestCommand() *cobra.Command {
	var f imageAttestFlags
	command := &cobra.Command{
		Use:   "attest REF…",
		Short: "Attest something about images with a key",
		Long: `attest signs an in-toto statement about images and attaches it: an SBOM, a provenance, a scan.
It replaces what the same key has attested of the same type before, unless --keep says otherwise.

With --output the signed statement is written to a file (- for standard output) instead.

` + writingExits,
		Example: `  portcullis image attest ghcr.io/acme/app:1 --key cosign.key --type cyclonedx --predicate bom.json
  portcullis image attest ghcr.io/acme/app:1 --key cosign.key --type https://slsa.dev/provenance/v1 --predicate provenance.json`,
		Args: pushedImages(),
		RunE: func(command *cobra.Command, args []string) error { return p.imageAttest(command.Context(), &f, args) },
	}
	f.place.register(command.Flags())
	f.key.register(command)
	registerFormat(command, &f.format)
	command.Flags().StringVar(&f.kind, "type", "", "predicate type: a `URI`, or as cosign names it: slsaprovenance, slsaprovenance02, slsaprovenance1, link, spdx, spdxjson, cyclonedx, vuln, openvex or custom")
	command.Flags().StringVar(&f.predicate, "predicate", "", "JSON `file` with the predicate")
	command.Flags().BoolVar(&f.keep, "keep", false, "keep what was attested of this type before")
	command.Flags().StringVarP(&f.output, "output", "o", "", "write the signed statement to this `file` instead of attaching it")
	return command
}

func (p *program) imageAttest(ctx context.Context, f *imageAttestFlags, arguments []string) error {
	if f.kind == "" || f.predicate == "" {
		return usagef("there is nothing to attest: give --type and --predicate")
	}
	if f.output != "" && len(arguments) > 1 {
		return usagef("--output takes the statement about one image: name one")
	}
	kind, err := predicateType(f.kind)
	if err != nil {
		return err
	}
	if err := checkSignatureFormat(f.format); err != nil {
		return err
	}
	predicate, err := readFile("the predicate", f.predicate)
	if err != nil {
		return err
	}
	if _, err := cosign.NewStatement(cosign.Target{Digest: "sha256:" + strings.Repeat("0", 64)}, kind, predicate); err != nil {
		return usageError{err}
	}
	key, err := f.key.load(p)
	if err != nil {
		return err
	}
	return p.eachImage(ctx, arguments, func(ctx context.Context, argument string) (gate.ExitCode, error) {
		if f.output != "" {
			return gate.ExitAdmitted, p.attestToFile(ctx, f, argument, key, kind, predicate)
		}
		return gate.ExitAdmitted, p.write(ctx, &f.place, argument, false, func(destination cosign.Destination, target cosign.Target) error {
			statement, err := cosign.NewStatement(target, kind, predicate)
			if err != nil {
				return err
			}
			attached, err := cosign.Attest(ctx, destination, target, key, statement, cosign.AttestOptions{Format: f.format, Replace: !f.keep})
			if err == nil {
				p.wrote("attested "+kind+" of", target, attached)
			}
			return err
		})
	})
}

func (p *program) attestToFile(ctx context.Context, f *imageAttestFlags, argument string, key *cosign.Key, kind string, predicate []byte) error {
	image, err := f.place.open(ctx, argument)
	if err != nil {
		return err
	}
	defer image.close()
	statement, err := cosign.NewStatement(image.target, kind, predicate)
	if err != nil {
		return err
	}
	signed, err := cosign.SignStatement(image.target, key, statement, f.format)
	if err != nil {
		return err
	}
	if f.output == "-" {
		_, err = fmt.Fprintf(p.stdout, "%s\n", signed)
		return err
	}
	if err := os.WriteFile(f.output, append(signed, '\n'), 0o644); err != nil { //nolint:gosec // it is meant to be published
		return fmt.Errorf("writing the statement: %w: name another file", err)
	}
	fmt.Fprintf(p.stderr, "attested %s of %s in %s\n", kind, image.target, f.output)
	return nil
}

func (p *program) imageAttachCommand() *cobra.Command {
	var place placeFlags
	var statement string
	command := &cobra.Command{
		Use:   "attach REF",
		Short: "Attach a statement about an image that was signed elsewhere",
		Long: `attach attaches what image attest --output, portcullis-scanner or cosign has signed and written to a
file: a Sigstore bundle, or a bare DSSE envelope. It must be about the image; who has signed it
is for whoever verifies the image to judge.

` + writingExits,
		Example: `  portcullis image attach ghcr.io/acme/app:1 --statement scan.json`,
		Args:    arguments(cobra.ExactArgs(1), nextPushed),
		RunE: func(command *cobra.Command, args []string) error {
			return p.imageAttach(command.Context(), &place, statement, args[0])
		},
	}
	place.register(command.Flags())
	command.Flags().StringVar(&statement, "statement", "", "`file` with the signed statement")
	return command
}

func (p *program) imageAttach(ctx context.Context, place *placeFlags, statement, argument string) error {
	if statement == "" {
		return usagef("there is nothing to attach: give --statement")
	}
	content, err := readFile("the statement", statement)
	if err != nil {
		return err
	}
	content = bytes.TrimSpace(content)
	if err := signedStatement(content); err != nil {
		return usagef("reading the statement %s: %w", statement, err)
	}
	return p.write(ctx, place, argument, false, func(destination cosign.Destination, target cosign.Target) error {
		attached, err := cosign.Attach(ctx, destination, target, content)
		if errors.Is(err, cosign.ErrOtherImage) {
			return usagef("%w: attach it to that one", err)
		}
		if err == nil {
			p.wrote("attached to", target, attached)
		}
		return err
	})
}

// signedStatement refuses what nobody can have signed: a summary of the gate, say, or a bare predicate.
func signedStatement(content []byte) error {
	if len(content) == 0 {
		return errors.New("the statement is empty: give one that portcullis image attest --output or cosign has written")
	}
	var head struct {
		MediaType string          `json:"mediaType"`
		Payload   json.RawMessage `json:"payload"`
	}
	// Several documents in one file, as a summary has them, are no statement either.
	if err := json.Unmarshal(content, &head); err != nil || (head.MediaType == "" && len(head.Payload) == 0) {
		return errors.New("the statement is not signed: sign it with portcullis image attest --output, which writes a Sigstore bundle, and attach that")
	}
	return nil
}

func (p *program) imageKeyPairCommand() *cobra.Command {
	var f keyFlags
	var prefix string
	command := &cobra.Command{
		Use:   "generate-key-pair",
		Short: "Make a key pair to sign images with",
		Long: `generate-key-pair writes a private key, encrypted with a password, to cosign.key and the public key to
cosign.pub. They are cosign's own: either program signs with them. It never overwrites a file.`,
		Example: `  COSIGN_PASSWORD=… portcullis image generate-key-pair --output-prefix release`,
		Args:    arguments(cobra.NoArgs, "generate-key-pair takes no arguments: name the files by --output-prefix"),
		RunE:    func(*cobra.Command, []string) error { return p.imageKeyPair(&f, prefix) },
	}
	f.registerPassword(command)
	command.Flags().StringVar(&prefix, "output-prefix", "cosign", "`name` of the files, without .key and .pub")
	return command
}

func (p *program) imageKeyPair(f *keyFlags, prefix string) error {
	for _, name := range []string{prefix + ".key", prefix + ".pub"} {
		if _, err := os.Lstat(name); err == nil {
			return usagef("there is a %s already: choose another --output-prefix", name)
		}
	}
	password, err := f.password(p, "Password for the private key: ", true)
	if err != nil {
		return err
	}
	private, public, err := cosign.GenerateKeyPair(password)
	if err != nil {
		return err
	}
	if err := writeNew(prefix+".key", private, 0o600); err != nil {
		return err
	}
	if err := writeNew(prefix+".pub", public, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s.key\n%s.pub\n", prefix, prefix)
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(name string, content []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return usagef("writing %s: %w: choose another --output-prefix", name, err)
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}
