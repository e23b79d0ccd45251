package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/journal"
)

// decisionAnnotation ends the names of annotations with the id of a decision, which begin with the name of an entry of a webhook
// configuration. (The API server's own authorization has annotations of the name "decision", too.)
const decisionAnnotation = ".portcullis.dev/decision"

// told are the ids of the decisions that the API server has been told of, from the files of its audit log: webhooks give them
// as audit annotations. refusals are how many requests with one were refused.
func told(files []string) (ids map[string]string, refusals int, err error) {
	ids = map[string]string{}
	for _, name := range files {
		refused, err := toldIn(name, ids)
		if err != nil {
			return nil, 0, fmt.Errorf("reading the audit log: %w", err)
		}
		refusals += refused
	}
	return ids, refusals, nil
}

func toldIn(name string, ids map[string]string) (refusals int, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var entry struct {
			RequestURI  string            `json:"requestURI"`
			Verb        string            `json:"verb"`
			Annotations map[string]string `json:"annotations"`
			Status      struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue // the API server was killed in the middle of a line
		}
		decided := false
		for key, value := range entry.Annotations {
			if strings.HasSuffix(key, decisionAnnotation) {
				ids[value] = entry.Verb + " " + entry.RequestURI
				decided = true
			}
		}
		if decided && entry.Status.Code >= http.StatusBadRequest {
			refusals++
		}
	}
	return refusals, lines.Err()
}

// written are the ids of decisions in journals. broken says which of them do not hold.
func written(ctx context.Context, folders []string) (ids map[string]bool, broken []string, err error) {
	ids = map[string]bool{}
	for _, folder := range folders {
		found, err := journal.Verify(ctx, folder, "")
		if err != nil {
			return nil, nil, fmt.Errorf("verifying a journal: %w", err)
		}
		if !found.Intact() {
			broken = append(broken, fmt.Sprintf("%s: break %+v, missing %q", folder, found.Break, found.Missing))
		}
		for line, err := range journal.Read(folder, journal.Filter{}) {
			if err != nil {
				return nil, nil, err
			}
			if line.Decision != nil {
				ids[line.Decision.ID] = true
			}
		}
	}
	return ids, broken, nil
}

// lost are the decisions that were told and are in no journal.
func lost(told map[string]string, written map[string]bool) []string {
	var missing []string
	for id, request := range told {
		if !written[id] {
			missing = append(missing, id+" of "+request)
		}
	}
	return missing
}

// decisions compares what the API server was told with all journals that replicas ever wrote: folders of pods stay when these go.
func (s *soak) decisions(ctx context.Context) error {
	logs, err := filepath.Glob(strings.TrimSuffix(s.Control.AuditLog, ".log") + "*.log") // it is rotated
	if err != nil {
		return err
	}
	ids, refusals, err := told(logs)
	if err != nil {
		return err
	}
	folders, err := filepath.Glob(filepath.Join(s.dir, "installation", "node", "*", "*", "journal"))
	if err != nil {
		return err
	}
	kept, broken, err := written(ctx, folders)
	if err != nil {
		return err
	}
	s.report.decisions(len(ids), refusals, len(folders), lost(ids, kept), broken)
	return nil
}
