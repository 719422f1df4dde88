package definition

import (
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// Kind is a file format.
type Kind string

// The file formats.
const (
	KindMNQ            Kind = "mnq"
	KindElasticMQ      Kind = "elasticmq"
	KindGoAWS          Kind = "goaws"
	KindCloudFormation Kind = "cloudformation"
	KindServerless     Kind = "serverless"
)

// KindOf tells the format of a file by its name and its keys; "" when it has none that is
// known.
func KindOf(name string, raw []byte) Kind {
	if strings.EqualFold(filepath.Ext(name), ".conf") {
		return KindElasticMQ
	}
	top, err := root(raw)
	if err != nil || top == nil {
		return ""
	}
	keys := map[string]*yaml.Node{}
	for key, v := range pairs(top) {
		keys[key.Value] = v
	}
	switch {
	case keys["Resources"] != nil:
		return KindCloudFormation
	case keys["service"] != nil && keys["provider"] != nil:
		return KindServerless
	case keys[SectionQueues] != nil || keys[SectionTopics] != nil:
		return KindMNQ
	}
	for _, env := range keys {
		for key := range pairs(env) {
			if env.Kind == yaml.MappingNode && (key.Value == "Queues" || key.Value == "Topics") {
				return KindGoAWS
			}
		}
	}
	return ""
}
