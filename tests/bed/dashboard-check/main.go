// Reads a Grafana dashboard by Grafana's own schema, as its foundation SDK has it: unknown keys, wrong types and options that
// a panel does not know are mistakes, and so is a panel or a query of a kind that the SDK does not know. Prints all of them.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

func main() {
	if len(os.Args) != 2 {
		fail("dashboard-check FILE")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	// Without it panels and queries are taken as they come.
	plugins.RegisterDefaultPlugins()
	var found dashboard.Dashboard
	must(new(dashboard.Dashboard).UnmarshalJSONStrict(text))
	// Read again: the strict reading finds all mistakes and, being wrong about having found some, keeps no panels.
	must(json.Unmarshal(text, &found))
	must(found.Validate())
	known := 0
	for _, either := range found.Panels {
		panels := []dashboard.Panel{}
		if either.Panel != nil {
			panels = append(panels, *either.Panel)
		}
		if either.RowPanel != nil {
			panels = append(panels, either.RowPanel.Panels...)
		}
		for _, panel := range panels {
			if _, registered := cog.ConfigForPanelcfgVariant(panel.Type); !registered {
				fail("panel `%s`: no panel of Grafana's is called `%s`", title(panel), panel.Type)
			}
			for _, target := range panel.Targets {
				if _, is := target.(*prometheus.Dataquery); !is {
					fail("panel `%s`: a query is not Prometheus': %T", title(panel), target)
				}
				known++
			}
		}
	}
	if known == 0 {
		fail("no query was found")
	}
	answer, _ := json.Marshal(map[string]int{"panels": len(found.Panels), "queries": known})
	fmt.Println(string(answer))
}

func title(panel dashboard.Panel) string {
	if panel.Title == nil {
		return ""
	}
	return *panel.Title
}

// The SDK returns its list of mistakes as it is, also when there are none in it.
func must(err error) {
	if err != nil && err.Error() != "" {
		fail("%v", err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
