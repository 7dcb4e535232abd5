// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func openaiClient(more ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL(baseURL + "/openai/v1/"), option.WithAPIKey(key), option.WithMaxRetries(0),
	}, more...)...)
}

func chatOf(script string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(ask(script))},
	}
}

func openaiWeather() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: "get_weather",
		Parameters: openai.FunctionParameters{
			"type":       "object",
			"properties": map[string]any{"city": map[string]any{"type": "string"}},
		},
	})}
}

func openaiCreate(ctx context.Context) {
	client := openaiClient()
	answer, err := client.Chat.Completions.New(ctx, chatOf("tokens=4&prompt=11"))
	no(err)
	must(answer.Choices[0].Message.Content == words(4), "%q", answer.Choices[0].Message.Content)
	must(answer.Choices[0].FinishReason == "stop" && answer.Model == model, "%s", answer.RawJSON())
	must(answer.Usage.PromptTokens == 11 && answer.Usage.CompletionTokens == 4, "%s", answer.RawJSON())
	must(answer.JSON.Choices.Valid() && answer.JSON.Created.Valid() && answer.JSON.Object.Valid(), "%s", answer.RawJSON())
}

func openaiStream(ctx context.Context) {
	client := openaiClient()
	params := chatOf("tokens=6&prompt=3")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	var all openai.ChatCompletionAccumulator
	finished := ""
	for stream.Next() {
		must(all.AddChunk(stream.Current()), "the chunk does not fit: %s", stream.Current().RawJSON())
		if text, ok := all.JustFinishedContent(); ok {
			finished = text
		}
	}
	no(stream.Err())
	must(finished == words(6) && all.Choices[0].Message.Content == words(6), "%q", finished)
	must(all.Usage.TotalTokens == 9, "%d tokens", all.Usage.TotalTokens)
}

func openaiToolTurn(ctx context.Context) {
	client := openaiClient()
	params := chatOf("tools=2&once=1&tokens=3")
	params.Tools = openaiWeather()
	first, err := client.Chat.Completions.New(ctx, params)
	no(err)
	calls := first.Choices[0].Message.ToolCalls
	must(len(calls) == 2 && first.Choices[0].FinishReason == "tool_calls", "%s", first.RawJSON())
	params.Messages = append(params.Messages, first.Choices[0].Message.ToParam())
	for i, call := range calls {
		var input struct {
			City string
			Days int
		}
		no(json.Unmarshal([]byte(call.Function.Arguments), &input))
		must(call.Function.Name == "get_weather" && input.City == "Paris" && input.Days == i, "%s", call.RawJSON())
		params.Messages = append(params.Messages, openai.ToolMessage("sunny", call.ID))
	}
	second, err := client.Chat.Completions.New(ctx, params)
	no(err)
	must(second.Choices[0].Message.Content == words(3), "%s", second.RawJSON())

	params = chatOf("tools=2")
	params.Tools = openaiWeather()
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	var all openai.ChatCompletionAccumulator
	done := 0
	for stream.Next() {
		must(all.AddChunk(stream.Current()), "the chunk does not fit: %s", stream.Current().RawJSON())
		if _, ok := all.JustFinishedToolCall(); ok {
			done++
		}
	}
	no(stream.Err())
	must(done == 2 && len(all.Choices[0].Message.ToolCalls) == 2, "%d calls", done)
}

func openaiJSONSchema(ctx context.Context) {
	client := openaiClient()
	params := chatOf(`say={"ok":true}`)
	params.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{
		OfJSONSchema: &openai.ResponseFormatJSONSchemaParam{
			JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
				Name: "verdict", Strict: openai.Bool(true), Schema: map[string]any{
					"type": "object", "additionalProperties": false, "required": []string{"ok"},
					"properties": map[string]any{"ok": map[string]any{"type": "boolean"}},
				},
			},
		},
	}
	answer, err := client.Chat.Completions.New(ctx, params)
	no(err)
	must(answer.Choices[0].Message.Content == `{"ok":true}`, "%s", answer.RawJSON())
}

func openaiEmbeddings(ctx context.Context) {
	client := openaiClient()
	answer, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: os.Getenv("TF_EMBED"),
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}},
	})
	no(err)
	must(len(answer.Data) == 2 && len(answer.Data[1].Embedding) == 8 && answer.Data[1].Index == 1, "%s", answer.RawJSON())
}

func openaiResponses(ctx context.Context) {
	client := openaiClient()
	params := responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(ask("tokens=4&prompt=11"))},
	}
	answer, err := client.Responses.New(ctx, params)
	no(err)
	must(answer.OutputText() == words(4) && answer.Usage.TotalTokens == 15, "%s", answer.RawJSON())
	stream := client.Responses.NewStreaming(ctx, params)
	text, last := "", ""
	for stream.Next() {
		event := stream.Current()
		last = event.Type
		if event.Type == "response.output_text.delta" {
			text += event.Delta
		}
	}
	no(stream.Err())
	must(text == words(4) && last == "response.completed", "%q %s", text, last)
	params.Input.OfString = openai.String(ask("tools=2&interleave=1"))
	answer, err = client.Responses.New(ctx, params)
	no(err)
	must(len(answer.Output) == 2 && answer.Output[1].AsFunctionCall().Name == "get_weather", "%s", answer.RawJSON())
}

func openaiModels(ctx context.Context) {
	client := openaiClient()
	found := false
	pager := client.Models.ListAutoPaging(ctx)
	for pager.Next() {
		found = found || pager.Current().ID == model
	}
	no(pager.Err())
	one, err := client.Models.Get(ctx, model)
	no(err)
	must(found && one.ID == model, "the model is not listed")
}

func openaiErrors(ctx context.Context) {
	client := openaiClient()
	params := chatOf("")
	params.Model = "no/such"
	_, err := client.Chat.Completions.New(ctx, params)
	e := as[*openai.Error](err)
	must(e.StatusCode == 404 && e.Code == "model_not_found" && e.Param == "model", "%v", e)

	wrong := openaiClient(option.WithAPIKey("tf-prod-wrong"), option.WithMaxRetries(3))
	_, err = wrong.Chat.Completions.New(ctx, chatOf(""))
	e = as[*openai.Error](err)
	must(e.StatusCode == 401 && e.Code == "unauthorized" && e.Type == "authentication_error", "%v", e)

	slow := openaiClient(option.WithAPIKey(os.Getenv("TF_SLOW_KEY")))
	for range 3 {
		if _, err = slow.Chat.Completions.New(ctx, chatOf("tokens=1")); err != nil {
			break
		}
	}
	e = as[*openai.Error](err)
	seconds, _ := strconv.Atoi(e.Response.Header.Get("Retry-After"))
	must(e.StatusCode == 429 && e.Code == "rate_limit_exceeded" && seconds > 0, "%v", e)

	_, err = client.Chat.Completions.New(ctx, chatOf("status=503"))
	e = as[*openai.Error](err)
	must(e.StatusCode == 503 && e.Code == "overloaded", "%v", e)

	stream := client.Chat.Completions.NewStreaming(ctx, chatOf("tokens=5&abort=2"))
	for stream.Next() {
	}
	must(stream.Err() != nil, "the broken stream looked whole")
}

func openaiCancel(ctx context.Context) {
	client := openaiClient()
	ctx, cancel := context.WithCancel(ctx)
	stream := client.Chat.Completions.NewStreaming(ctx, chatOf("tokens=500&delay_ms=20"))
	n := 0
	for stream.Next() {
		if n++; n == 4 {
			cancel()
		}
	}
	must(stream.Err() != nil && n < 100, "%d chunks after the end", n)
}
