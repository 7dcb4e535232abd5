// SPDX-License-Identifier: Apache-2.0

// What programs do with the vendors' Go SDKs. Runs its cases, or those named as arguments, and reports each
// in a line {"case":..,"error":null|text}. Finds the factory through TF_URL, TF_KEY and TF_MODEL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

var (
	baseURL = os.Getenv("TF_URL")
	key     = os.Getenv("TF_KEY")
	model   = os.Getenv("TF_MODEL")
)

// ask makes the user's turn that has the scripted runtime answer as told.
func ask(script string) string { return "fake?" + script }

// words is what it says in n tokens.
func words(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "tok%d ", i)
	}
	return s.String()
}

// must stops the case.
func must(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

// no stops the case on an error.
func no(err error) {
	if err != nil {
		panic(err)
	}
}

// as finds the SDK's own error in err, or stops the case.
func as[T error](err error) T {
	var found T
	must(errors.As(err, &found), "another error was expected: %v", err)
	return found
}

var cases = []struct {
	name string
	run  func(context.Context)
}{
	{"openai_create", openaiCreate},
	{"openai_stream", openaiStream},
	{"openai_tool_turn", openaiToolTurn},
	{"openai_json_schema", openaiJSONSchema},
	{"openai_embeddings", openaiEmbeddings},
	{"openai_responses", openaiResponses},
	{"openai_models", openaiModels},
	{"openai_errors", openaiErrors},
	{"openai_cancel", openaiCancel},
	{"anthropic_create", anthropicCreate},
	{"anthropic_stream", anthropicStream},
	{"anthropic_tool_turn", anthropicToolTurn},
	{"anthropic_tool_runner", anthropicToolRunner},
	{"anthropic_thinking", anthropicThinking},
	{"anthropic_count_tokens", anthropicCountTokens},
	{"anthropic_models", anthropicModels},
	{"anthropic_errors", anthropicErrors},
}

func try(run func(context.Context)) (problem any) {
	defer func() {
		if p := recover(); p != nil {
			problem = fmt.Sprint(p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run(ctx)
	return nil
}

func main() {
	wanted := map[string]bool{}
	for _, name := range os.Args[1:] {
		wanted[name] = true
	}
	for _, c := range cases {
		if len(wanted) > 0 && !wanted[c.name] {
			continue
		}
		line, err := json.Marshal(struct {
			Case  string `json:"case"`
			Error any    `json:"error"`
		}{c.name, try(c.run)})
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}
