package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
)

// gate is `portcullis gate`, as a CI job runs it.
type gate struct {
	program, manifests string
	policies           policies
	cache              string
}

// gateReport is what the demo reads of the gate's JSON.
type gateReport struct {
	Results []struct {
		Outcome  string `json:"outcome"`
		Findings []struct {
			Policy  string `json:"policy"`
			Effect  string `json:"effect"`
			Path    string `json:"path"`
			Message string `json:"message"`
		} `json:"findings"`
		Patch json.RawMessage `json:"patch"`
	} `json:"results"`
}

func (g gate) judge(ctx context.Context, c demoCase) (answer, error) {
	args := append([]string{"gate", filepath.Join(g.manifests, c.file), "--bundle", g.policies.bundle, "--format", "json", "--scan=never", "--cache-dir", g.cache}, g.policies.flags...)
	command := exec.CommandContext(ctx, g.program, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return answer{}, fmt.Errorf("running the gate: %w", err)
	}
	var report gateReport
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil || len(report.Results) != 1 {
		return answer{}, fmt.Errorf("reading the gate's report of %s: %w: it is %s\n%s", c.file, err, stdout.Bytes(), stderr.Bytes())
	}
	result := report.Results[0]
	got := answer{admitted: command.ProcessState.ExitCode() == 0}
	if got.patched, err = changes(result.Patch); err != nil {
		return answer{}, err
	}
	for _, finding := range result.Findings {
		if finding.Effect == "deny" {
			got.add(reason{finding.Policy, finding.Path, finding.Message})
		}
	}
	return got, nil
}

// add keeps a finding that denies.
func (a *answer) add(r reason) {
	a.reasons = append(a.reasons, r)
	if !slices.Contains(a.policies, r.policy) {
		a.policies = append(a.policies, r.policy)
		slices.Sort(a.policies)
	}
}
