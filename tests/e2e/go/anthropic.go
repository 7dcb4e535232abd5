// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/anthropics/anthropic-sdk-go/v2/toolrunner"
)

func anthropicClient(more ...option.RequestOption) anthropic.Client {
	return anthropic.NewClient(append([]option.RequestOption{
		option.WithBaseURL(baseURL + "/anthropic/"), option.WithAPIKey(key), option.WithMaxRetries(0),
	}, more...)...)
}

func messageOf(script string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     anthropic.Model(model),
		MaxTokens: 2000,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(ask(script)))},
	}
}

func anthropicWeather() []anthropic.ToolUnionParam {
	return []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name:        "get_weather",
		InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}},
	}}}
}

func anthropicCreate(ctx context.Context) {
	client := anthropicClient()
	answer, err := client.Messages.New(ctx, messageOf("tokens=4&prompt=11"))
	no(err)
	must(len(answer.Content) == 1 && answer.Content[0].Text == words(4), "%s", answer.RawJSON())
	must(answer.StopReason == "end_turn" && string(answer.Model) == model, "%s", answer.RawJSON())
	must(answer.Usage.InputTokens == 11 && answer.Usage.OutputTokens == 4, "%s", answer.RawJSON())
}

// accumulated reads a stream to its end.
func accumulated(ctx context.Context, params anthropic.MessageNewParams) anthropic.Message {
	client := anthropicClient()
	stream := client.Messages.NewStreaming(ctx, params)
	var all anthropic.Message
	for stream.Next() {
		no(all.Accumulate(stream.Current()))
	}
	no(stream.Err())
	return all
}

func anthropicStream(ctx context.Context) {
	all := accumulated(ctx, messageOf("tokens=6"))
	must(all.Content[0].Text == words(6) && all.StopReason == "end_turn", "%s", all.RawJSON())
	must(all.Usage.OutputTokens == 6, "%d tokens", all.Usage.OutputTokens)
}

func anthropicToolTurn(ctx context.Context) {
	client := anthropicClient()
	params := messageOf("tools=2&once=1&tokens=3")
	params.Tools = anthropicWeather()
	whole, err := client.Messages.New(ctx, params)
	no(err)
	streamed := accumulated(ctx, params)
	for _, first := range []*anthropic.Message{whole, &streamed} {
		must(first.StopReason == "tool_use" && len(first.Content) == 2, "%s", first.RawJSON())
		turns := append(params.Messages[:1:1], first.ToParam())
		results := []anthropic.ContentBlockParamUnion{}
		for i, block := range first.Content {
			var input struct {
				City string
				Days int
			}
			no(json.Unmarshal(block.Input, &input))
			must(block.Name == "get_weather" && input.City == "Paris" && input.Days == i, "%s", block.Input)
			results = append(results, anthropic.NewToolResultBlock(block.ID, "sunny", false))
		}
		next := params
		next.Messages = append(turns, anthropic.NewUserMessage(results...))
		second, err := client.Messages.New(ctx, next)
		no(err)
		must(second.Content[0].Text == words(3), "%s", second.RawJSON())
	}
}

func anthropicToolRunner(ctx context.Context) {
	type weather struct {
		City string `json:"city" jsonschema:"required"`
		Days int    `json:"days" jsonschema:"required"`
	}
	tool, err := toolrunner.NewBetaToolFromJSONSchema("get_weather", "w",
		func(_ context.Context, in weather) (anthropic.BetaToolResultBlockParamContentUnion, error) {
			return anthropic.BetaToolResultBlockParamContentUnion{OfText: &anthropic.BetaTextBlockParam{Text: in.City}}, nil
		})
	no(err)
	client := anthropicClient()
	runner := client.Beta.Messages.NewToolRunner([]anthropic.BetaTool{tool}, anthropic.BetaToolRunnerParams{
		BetaMessageNewParams: anthropic.BetaMessageNewParams{
			Model:     anthropic.Model(model),
			MaxTokens: 2000,
			Messages:  []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock(ask("tools=2&once=1&tokens=3")))},
		},
	})
	last, err := runner.RunToCompletion(ctx)
	no(err)
	must(last.Content[0].Text == words(3), "%s", last.RawJSON())
}

func anthropicThinking(ctx context.Context) {
	params := messageOf("reasoning=reasoning_content&tokens=2&thought=4&completion=9")
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	all := accumulated(ctx, params)
	must(len(all.Content) == 2 && all.Content[0].Thinking == "thinking" && all.Content[0].Signature != "", "%s", all.RawJSON())
	params.Messages = append(params.Messages, all.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock(ask("tokens=1"))))
	all = accumulated(ctx, params)
	must(all.Content[0].Text == words(1), "%s", all.RawJSON())
}

func anthropicCountTokens(ctx context.Context) {
	client := anthropicClient()
	count, err := client.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{
		Model: anthropic.Model(model), Messages: messageOf("").Messages,
	})
	no(err)
	must(count.InputTokens > 0 && count.InputTokens < 30, "%d tokens", count.InputTokens)
}

func anthropicModels(ctx context.Context) {
	client := anthropicClient()
	found := false
	pager := client.Models.ListAutoPaging(ctx, anthropic.ModelListParams{Limit: anthropic.Int(1)})
	for pager.Next() {
		found = found || pager.Current().ID == model
	}
	no(pager.Err())
	one, err := client.Models.Get(ctx, model, anthropic.ModelGetParams{})
	no(err)
	must(found && one.ID == model, "the model is not listed")
}

func anthropicErrors(ctx context.Context) {
	client := anthropicClient()
	params := messageOf("")
	params.Model = "no/such"
	_, err := client.Messages.New(ctx, params)
	e := as[*anthropic.Error](err)
	must(e.StatusCode == 404 && e.Type() == "not_found_error" && e.RequestID != "", "%v", e)
	must(e.Details.ErrorCode == "model_not_found", "%s", e.RawJSON())

	wrong := anthropicClient(option.WithAPIKey("tf-prod-wrong"), option.WithMaxRetries(3))
	_, err = wrong.Messages.New(ctx, messageOf(""))
	e = as[*anthropic.Error](err)
	must(e.StatusCode == 401 && e.Type() == "authentication_error", "%v", e)

	slow := anthropicClient(option.WithAPIKey(os.Getenv("TF_SLOW_KEY")))
	for range 3 {
		if _, err = slow.Messages.New(ctx, messageOf("tokens=1")); err != nil {
			break
		}
	}
	e = as[*anthropic.Error](err)
	seconds, _ := strconv.Atoi(e.Response.Header.Get("Retry-After"))
	must(e.StatusCode == 429 && e.Type() == "rate_limit_error" && seconds > 0, "%v", e)

	stream := client.Messages.NewStreaming(ctx, messageOf("tokens=5&abort=2"))
	for stream.Next() {
	}
	must(stream.Err() != nil, "the broken stream looked whole")
}
