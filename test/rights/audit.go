// Package rights compares what service accounts may do with what they did: rules of RBAC with the audit log of an API server.
//
//	granted, err := rights.Granted(ctx, client, "portcullis-system")
//	used, err := rights.ReadLog(control.AuditLog)
//	for _, g := range rights.Unused(granted, used, served) { … }    // nobody needs it
//	for _, u := range rights.Refused(used) { … }                    // somebody lacked it
//
// What is compared is each verb of each resource that a rule names, in the scope and for the names that it gives. The log has to be of a
// run that has the programs do everything that they ever do.
package rights

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// accountPrefix begins the names of service accounts as users: system:serviceaccount:NAMESPACE:NAME.
const accountPrefix = "system:serviceaccount:"

// Use is a request that a service account made.
type Use struct {
	// Account is NAMESPACE/NAME.
	Account string
	Verb    string
	// Group and Resource are what it was about; a subresource is part of the latter, as pods/log.
	Group, Resource string
	// Namespace is "" for all of them and for what has none. Name is "" for lists, for what is created, and for watches of more than one object.
	Namespace, Name string
	// Status is that of the HTTP answer.
	Status int
	// URI is the path with its query.
	URI string
}

func (u Use) String() string {
	return fmt.Sprintf("%s: %s %s (HTTP %d)", u.Account, u.Verb, u.URI, u.Status)
}

// entry is what is read of a line (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event).
type entry struct {
	Stage          string `json:"stage"`
	Verb           string `json:"verb"`
	RequestURI     string `json:"requestURI"`
	User           struct{ Username string }
	ObjectRef      *objectRef `json:"objectRef"`
	ResponseStatus struct{ Code int }
}

type objectRef struct {
	Resource, Namespace, Name, APIGroup, Subresource string
}

// ReadLog reads what service accounts did about resources from a log of JSON lines. A watch counts once it has begun. A last line that
// is not whole yet is no error.
func ReadLog(file string) ([]Use, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading an audit log: %w", err)
	}
	defer opened.Close()
	var uses []Use
	reader := bufio.NewReader(opened)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return uses, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading an audit log: %w", err)
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading an audit log: line %d: %w", number, err)
		}
		account, ok := strings.CutPrefix(e.User.Username, accountPrefix)
		if !ok || e.ObjectRef == nil {
			continue
		}
		use := Use{
			Account: strings.Replace(account, ":", "/", 1), Verb: e.Verb, Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource,
			Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Status: e.ResponseStatus.Code, URI: e.RequestURI,
		}
		if e.ObjectRef.Subresource != "" {
			use.Resource += "/" + e.ObjectRef.Subresource
		}
		uses = append(uses, use)
	}
}

// Refused are those that the API server would not let an account do: it lacks a right. What admission refuses is none of them.
func Refused(uses []Use) []Use {
	var refused []Use
	for _, u := range uses {
		if u.Status == http.StatusForbidden {
			refused = append(refused, u)
		}
	}
	return refused
}
