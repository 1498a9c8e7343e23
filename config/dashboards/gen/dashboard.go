// SPDX-License-Identifier: Apache-2.0

package main

// object is JSON. Maps print with sorted keys, so the file is the same each time.
type object = map[string]any

// schemaVersion is Grafana's, of release 11; newer ones migrate it when they load it.
const schemaVersion = 41

const (
	columns    = 24
	statHeight = 4
	height     = 8
)

func dashboard() object {
	return object{
		"title":         "Spillway",
		"uid":           "spillway",
		"description":   "Bot mitigation at the NIC: is it protecting, what does it do, what comes next.",
		"tags":          []string{"spillway", "xdp", "bots"},
		"schemaVersion": schemaVersion,
		"version":       1,
		"editable":      true,
		"graphTooltip":  1,
		"refresh":       "30s",
		"time":          object{"from": "now-3h", "to": "now"},
		"timezone":      "browser",
		"annotations":   object{"list": []object{applied()}},
		"templating":    object{"list": variables()},
		"links":         []object{},
		"panels":        layout(),
	}
}

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// applied marks the moments at which another bundle became stable.
func applied() object {
	return object{"name": "New stable bundle", "enable": true, "iconColor": "blue", "datasource": source(),
		"expr": `changes(spillway_generation_number{` + selector +
			`, role="stable"}[1m]) > 0`, "titleFormat": "new stable bundle", "textFormat": "{{instance}}", "step": "60s"}
}

func variables() []object {
	values := func(name, label, metric string) object {
		text := "label_values(" + metric + ", " + name + ")"
		return object{"name": name, "label": label, "type": "query", "datasource": source(), "definition": text,
			"query":      object{"query": text, "refId": name},
			"includeAll": true, "multi": true, "allValue": ".*", "refresh": 2, "sort": 1, "current": object{"text": "All",
				"value": "$__all"}}
	}
	return []object{
		{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": object{},
			"refresh": 1},
		values("job", "Job", "spillway_build_info"),
		values("instance", "Host", "spillway_build_info"),
		values("service", "Service", "spillway_packets_total"),
	}
}

// layout puts panels side by side until a line is full.
func layout() []object {
	var out []object
	x, y, line := 0, 0, 0
	for i, p := range panels {
		w, h := p.width, height
		switch p.kind {
		case "row":
			w, h = columns, 1
		case "stat":
			h = statHeight
		}
		if x+w > columns {
			x, y, line = 0, y+line, 0
		}
		out = append(out, p.object(i+1, object{"x": x, "y": y, "w": w, "h": h}))
		x, line = x+w, max(line, h)
	}
	return out
}

func (p panel) object(id int, at object) object {
	o := object{"id": id, "title": p.title, "type": p.kind, "gridPos": at}
	if p.kind == "row" {
		o["collapsed"], o["panels"] = false, []object{}
		return o
	}
	o["datasource"], o["targets"], o["fieldConfig"], o["options"] = source(), p.targets(), p.fields(), p.options()
	if p.about != "" {
		o["description"] = p.about
	}
	if p.kind == "table" {
		o["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true,
			"Value": true, "__name__": true}}}}
	}
	return o
}

func (p panel) targets() []object {
	var out []object
	for i, q := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": q.expr, "legendFormat": q.legend,
			"range": p.kind == "timeseries", "instant": p.kind != "timeseries"}
		if p.kind == "table" {
			t["format"] = "table"
		}
		out = append(out, t)
	}
	return out
}

func (p panel) fields() object {
	defaults := object{"color": object{"mode": "palette-classic"}}
	if p.unit != "" {
		defaults["unit"] = p.unit
	}
	if p.kind == "timeseries" {
		custom := object{"lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false}
		if p.stacked {
			custom["stacking"], custom["fillOpacity"] = object{"mode": "normal", "group": "A"}, 30
		}
		defaults["custom"], defaults["min"] = custom, 0
	}
	if p.kind == "stat" {
		defaults["color"] = object{"mode": "thresholds"}
		defaults["thresholds"] = object{"mode": "absolute", "steps": []object{{"color": "text", "value": nil}}}
	}
	if len(p.mappings) > 0 {
		options := object{}
		for i, m := range p.mappings {
			options[m.value] = object{"text": m.text, "color": m.color, "index": i}
		}
		defaults["mappings"] = []object{{"type": "value", "options": options}}
	}
	return object{"defaults": defaults, "overrides": []object{}}
}

func (p panel) options() object {
	switch p.kind {
	case "stat":
		return object{"colorMode": "background", "graphMode": "none", "textMode": "auto", "justifyMode": "auto",
			"orientation":   "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	case "table":
		return object{"showHeader": true, "cellHeight": "sm"}
	}
	return object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"}}
}
