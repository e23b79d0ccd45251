package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/scans"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/timeline"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
)

type imagesData struct {
	Problem, Text string
	Rows          []imageRow
	Chart         *chart
	Pager         pager
}

type imageRow struct {
	Digest, Phase, State string
	Repositories         []string
	Reasons              []string
	Summary              *imageSummary
	Where                string
	Finished, Next       time.Time
}

type imageSummary struct {
	*scans.Summary
	Text string
}

func (v *visit) images() error {
	list, err := kube.List[scan.ImageScan](v.r.Context(), v.caller, scan.Resource, kube.Query{})
	if kube.LoggedOut(err) {
		return err
	}
	data := imagesData{Problem: text(err), Text: v.query.Get("q")}
	items := slices.DeleteFunc(list.Items, func(s scan.ImageScan) bool {
		return data.Text != "" && !strings.Contains(s.Spec.Digest+" "+strings.Join(s.Spec.Repositories, " ")+" "+string(s.Status.Phase), data.Text)
	})
	slices.SortFunc(items, func(a, b scan.ImageScan) int {
		return cmp.Or(cmp.Compare(first(a.Spec.Repositories), first(b.Spec.Repositories)), cmp.Compare(a.Spec.Digest, b.Spec.Digest))
	})
	shown, pager := cutPage(items, "/images", v.query, list.More)
	data.Pager = pager
	for n := range shown {
		data.Rows = append(data.Rows, newImageRow(&shown[n]))
	}
	data.Chart = findings(data.Rows)
	return v.show("images", "Images", data)
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

func newImageRow(s *scan.ImageScan) imageRow {
	row := imageRow{Digest: s.Spec.Digest, Phase: cmp.Or(string(s.Status.Phase), string(scan.PhaseQueued)), State: s.Status.State, Repositories: s.Spec.Repositories, Reasons: s.Status.Reasons}
	if s.Status.FinishedAt != nil {
		row.Finished = s.Status.FinishedAt.Time
	}
	if s.Status.NextAttempt != nil {
		row.Next = s.Status.NextAttempt.Time
	}
	switch summary, err := scans.Read(s.Status.Statement); {
	case err == nil:
		row.Summary = &imageSummary{summary, timeline.Counts(summary)}
	case len(s.Status.Statement) > 0:
		row.Where = "the signed scan cannot be read: " + err.Error()
	case s.Status.Phase == scan.PhaseDone:
		row.Where = "attached in the registry: portcullis image verify shows it"
	default:
		row.Where = "none yet"
	}
	return row
}

// findings is a chart of what scans on a page have found.
func findings(rows []imageRow) *chart {
	c := &chart{Title: "Findings of the images on this page", Of: "Image"}
	var most int64
	for n := range rows {
		if s := rows[n].Summary; s != nil {
			most = max(most, int64(s.Total))
		}
	}
	for n := range rows {
		if s := rows[n].Summary; s != nil && s.Total > 0 && len(c.Rows) < 2*maxBars {
			critical, high := int64(s.BySeverity["critical"]), int64(s.BySeverity["high"])
			c.Rows = append(c.Rows, newBar(cmp.Or(first(rows[n].Repositories), short(rows[n].Digest)), fmt.Sprint(s.Total), most, amount{"bad", critical}, amount{"warn", high}, amount{"note", int64(s.Total) - critical - high}))
		}
	}
	if len(c.Rows) == 0 {
		return nil
	}
	return c
}
