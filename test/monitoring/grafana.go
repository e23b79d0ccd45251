// Package monitoring is what Grafana shows of Portcullis, and the tests of it and of the alerts: each query is asked of a real Prometheus
// that reads our real programs.
package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// dashboard is what one dashboard shows.
type dashboard struct {
	file, title, about string
	rows               []row
}

type row struct {
	title  string
	panels []panel
}

// panel is one picture, a quarter of the width where it is a number, half of it otherwise.
type panel struct {
	title, about string
	number       bool   // the last value, big; otherwise a graph over time
	unit         string // of Grafana: "s", "ops", "short", "bytes", "percentunit", "dateTimeFromNow"
	queries      []query
	// bad is from where a number is red, 0 for never.
	bad float64
}

// query is an expression, and what its series are called: {{label}}.
type query struct{ expr, legend string }

// Sizes in the grid of Grafana, which is 24 wide.
const (
	gridWidth                  = 24
	numberWidth, numberHeight  = 6, 4
	graphWidth, graphHeight    = 12, 8
	rowHeight                  = 1
	schemaVersion              = 39 // of Grafana 10.4, which all later ones read
	refresh, window, mostlines = "30s", "now-6h", 20
)

type object = map[string]any

// source is the data source that who looks chooses.
func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// JSON is the dashboard as Grafana reads it.
func (d dashboard) JSON() ([]byte, error) {
	var panels []object
	x, y, id, height := 0, 0, 0, 0
	add := func(p object, width, high int) {
		if x+width > gridWidth {
			x, y = 0, y+height
		}
		id++
		p["id"], p["gridPos"] = id, object{"x": x, "y": y, "w": width, "h": high}
		panels = append(panels, p)
		x, height = x+width, high
	}
	for _, r := range d.rows {
		if x > 0 {
			x, y = 0, y+height
		}
		add(object{"type": "row", "title": r.title, "collapsed": false, "panels": []object{}}, gridWidth, rowHeight)
		for n := range r.panels {
			p := &r.panels[n]
			if n > 0 && r.panels[n-1].number != p.number && x > 0 { // a line has pictures of one height
				x, y = 0, y+height
			}
			if p.number {
				add(p.json(), numberWidth, numberHeight)
			} else {
				add(p.json(), graphWidth, graphHeight)
			}
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(object{
		"uid": "portcullis-" + d.file, "title": "Portcullis / " + d.title, "description": d.about, "tags": []string{"portcullis"},
		"editable": true, "graphTooltip": 1, "schemaVersion": schemaVersion, "version": 1, "refresh": refresh, "timezone": "browser",
		"time": object{"from": window, "to": "now"},
		"templating": object{"list": []object{{
			"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
		}}},
		"links": []object{{"type": "dashboards", "title": "Portcullis", "tags": []string{"portcullis"}, "asDropdown": true, "keepTime": true}},
		"annotations": object{"list": []object{{
			"name": "Alerts", "enable": true, "iconColor": "red", "datasource": source(), "titleFormat": "{{alertname}}",
			"expr": `ALERTS{alertname=~"Portcullis.*", alertstate="firing"}`,
		}}},
		"panels": panels,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the dashboard %s: %w", d.file, err)
	}
	return out.Bytes(), nil
}

func (p *panel) json() object {
	steps := []object{{"color": "green", "value": nil}}
	if p.bad > 0 {
		steps = append(steps, object{"color": "red", "value": p.bad})
	}
	var targets []object
	for n, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + n)), "datasource": source(), "expr": q.expr, "legendFormat": q.legend, "exemplar": !p.number, "instant": p.number, "range": !p.number,
		})
	}
	defaults := object{"unit": p.unit, "min": 0, "thresholds": object{"mode": "absolute", "steps": steps}}
	if p.unit == "s" || p.unit == "dateTimeFromNow" { // what has ended is below zero
		delete(defaults, "min")
	}
	out := object{
		"title": p.title, "description": p.about, "datasource": source(), "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
	}
	if p.number {
		out["type"] = "stat"
		out["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
		return out
	}
	out["type"] = "timeseries"
	out["options"] = object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	defaults["custom"] = object{"fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false}
	return out
}

// top keeps a graph readable, however many series there are.
func top(expr string) string { return fmt.Sprintf("topk(%d, %s)", mostlines, expr) }
