package httpapi

import (
	"encoding/json"
	"errors"
	"sync"

	"go.yaml.in/yaml/v3"
)

// specFiles is the contract in both of its spellings. The second is made when somebody asks for it.
type specFiles struct {
	yaml []byte
	json func() ([]byte, error)
}

func newSpecFiles(source []byte) specFiles {
	return specFiles{yaml: source, json: sync.OnceValues(func() ([]byte, error) { return orderedJSON(source) })}
}

// orderedJSON turns the contract from YAML into JSON and keeps every object in the order in which it
// was written, which the documentation page shows. A plain date stays the text that it is in OpenAPI.
func orderedJSON(source []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		return nil, err
	}
	return appendNode(nil, &doc)
}

func appendNode(dst []byte, n *yaml.Node) ([]byte, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return appendNode(dst, n.Content[0])
	case yaml.AliasNode:
		return appendNode(dst, n.Alias)
	case yaml.MappingNode:
		return appendMembers(dst, n, '{', '}')
	case yaml.SequenceNode:
		return appendMembers(dst, n, '[', ']')
	case yaml.ScalarNode:
		return appendScalar(dst, n)
	}
	return nil, errors.New("the document is empty")
}

// appendMembers writes a sequence, or a mapping: names and values in turn.
func appendMembers(dst []byte, n *yaml.Node, first, last byte) ([]byte, error) {
	dst = append(dst, first)
	for i, member := range n.Content {
		switch {
		case i == 0:
		case first == '{' && i%2 == 1:
			dst = append(dst, ':')
		default:
			dst = append(dst, ',')
		}
		write := appendNode
		if first == '{' && i%2 == 0 {
			write = appendText // names are text in JSON, also 200 and true
		}
		var err error
		if dst, err = write(dst, member); err != nil {
			return nil, err
		}
	}
	return append(dst, last), nil
}

func appendScalar(dst []byte, n *yaml.Node) ([]byte, error) {
	var value any
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		if err := n.Decode(&value); err != nil {
			return nil, err
		}
	default:
		return appendText(dst, n)
	}
	text, err := json.Marshal(value)
	return append(dst, text...), err
}

func appendText(dst []byte, n *yaml.Node) ([]byte, error) {
	text, err := json.Marshal(n.Value)
	return append(dst, text...), err
}
