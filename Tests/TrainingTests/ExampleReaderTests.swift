import Tensor
import TestSupport
import Testing
import Tokenizer
import Training

@Suite struct ExampleReaderTests {
  let readers: [DataLayout: ExampleReader] = [
    .completion: reader(.completion), .rewarded: reader(.rewarded),
    .preference: reader(.preference),
  ]

  private func read(_ layout: DataLayout, _ line: String) throws(IVGError) -> Example {
    try readers[layout]!.read(parse(line))
  }

  /// A turn as the plain template writes it.
  private static func turn(_ role: String, _ content: String) -> String {
    "<|im_start|>\(role)\n\(content)<|im_end|>\n"
  }

  private static let user = turn("user", "q") + "<|im_start|>assistant\n"
  private static let q = #"{"role":"user","content":"q"}"#
  private static func answer(_ text: String) -> String {
    #"{"role":"assistant","content":"\#(text)"}"#
  }

  private func completion(
    _ prompt: String, _ completion: String, _ reward: Double? = nil, chat: Bool = false
  ) -> Example {
    Example(
      prompt: Array(prompt.utf8), answer: .completion(Array(completion.utf8), reward: reward),
      isConversation: chat)
  }

  private func preference(
    _ prompt: String, _ chosen: String, _ rejected: String, chat: Bool = false
  ) -> Example {
    Example(
      prompt: Array(prompt.utf8),
      answer: .preference(chosen: Array(chosen.utf8), rejected: Array(rejected.utf8)),
      isConversation: chat)
  }

  @Test func texts() throws {
    let pair = #"{"prompt":"p ","chosen":"é","rejected":"\n","score":{"x":[1]},"chosen_score":3}"#
    #expect(try read(.preference, pair) == preference("p ", "é", "\n"))
    #expect(try read(.completion, pair) == preference("p ", "é", "\n"))
    let plain = #"{"prompt":"p","completion":"c","label":true}"#
    #expect(try read(.completion, plain) == completion("p", "c"))
    let rewarded = #"{"reward":-0.5,"completion":"c","prompt":""}"#
    #expect(try read(.rewarded, rewarded) == completion("", "c", -0.5))
    #expect(try read(.completion, rewarded) == completion("", "c"))
    #expect(
      try read(.completion, #"{"prompt":"p","completion":"c","reward":"x"}"#)
        == completion("p", "c"))
    #expect(try read(.completion, #"{"text":"t","label":1}"#) == completion("", "t"))
    #expect(try read(.rewarded, #"{"text":"t","reward":0}"#) == completion("", "t", 0))
  }

  @Test func nullIsAbsent() throws {
    #expect(
      try read(
        .completion,
        #"{"prompt":"p","chosen":null,"rejected":null,"completion":"c","messages":null}"#)
        == completion("p", "c"))
    expectError(.invalidArgument, "\"prompt\" is missing") { () throws(IVGError) in
      try read(.preference, #"{"prompt":null,"chosen":"a","rejected":"b"}"#)
    }
  }

  @Test func conversations() throws {
    let (q, a, b) = (Self.q, Self.answer("a"), Self.answer("b"))
    let system = #"{"role":"system","content":"s"}"#
    let expected = completion(Self.user, "a<|im_end|>", chat: true)
    #expect(try read(.completion, #"{"messages":[\#(q),\#(a)]}"#) == expected)
    #expect(try read(.completion, #"{"prompt":[\#(q)],"completion":[\#(a)]}"#) == expected)
    #expect(
      try read(.rewarded, #"{"messages":[\#(q),\#(a)],"reward":2}"#)
        == completion(Self.user, "a<|im_end|>", 2, chat: true))
    #expect(
      try read(.completion, #"{"messages":[\#(system),\#(q),\#(b),\#(q),\#(a)],"tools":[]}"#)
        == completion(
          Self.turn("system", "s") + Self.turn("user", "q") + Self.turn("assistant", "b")
            + Self.user,
          "a<|im_end|>", chat: true))
    let pair = preference(Self.user, "a<|im_end|>", "b<|im_end|>", chat: true)
    for line in [
      #"{"prompt":[\#(q)],"chosen":[\#(a)],"rejected":[\#(b)]}"#,
      #"{"chosen":[\#(q),\#(a)],"rejected":[\#(q),\#(b)]}"#,
      #"{"prompt":null,"chosen":[\#(q),\#(a)],"rejected":[\#(q),\#(b)],"messages":"?"}"#,
    ] {
      #expect(try read(.preference, line) == pair)
      #expect(try read(.completion, line) == pair)
    }
    // An implied prompt may be long, or nothing at all.
    #expect(
      try read(
        .preference, #"{"chosen":[\#(q),\#(a),\#(q),\#(a)],"rejected":[\#(q),\#(a),\#(q),\#(b)]}"#)
        == preference(
          Self.turn("user", "q") + Self.turn("assistant", "a") + Self.user, "a<|im_end|>",
          "b<|im_end|>", chat: true))
    #expect(
      try read(.preference, #"{"chosen":[\#(a)],"rejected":[\#(b)]}"#)
        == preference("<|im_start|>assistant\n", "a<|im_end|>", "b<|im_end|>", chat: true))
  }

  /// The wanted layout, a line, and words of the reason.
  static let refused: [(DataLayout, String, String)] = [
    (.completion, "[]", "the line is a list"), (.completion, "null", "the line is null"),
    (.completion, "3", "the line is a number"), (.completion, "{}", "none of \"completion\""),
    (.completion, #"{"prompt":"p"}"#, "\"completion\" is missing"),
    (.completion, #"{"completion":"c"}"#, "\"prompt\" is missing"),
    (.completion, #"{"prompt":"p","completion":""}"#, "\"completion\" is empty"),
    (.completion, #"{"prompt":1,"completion":"c"}"#, "\"prompt\" is a number"),
    (.completion, #"{"prompt":"p","completion":{}}"#, "\"completion\" is an object"),
    (.completion, #"{"text":""}"#, "\"text\" is empty"),
    (.completion, #"{"text":["t"]}"#, "\"text\" is a list"),
    (.completion, #"{"prompt":"p","chosen":"c"}"#, "\"rejected\" is missing"),
    (.completion, #"{"messages":"m"}"#, "\"messages\" is a string"),
    (.completion, #"{"messages":[]}"#, "\"messages\" is empty"),
    (
      .completion, #"{"messages":[\#(q)]}"#,
      "\"messages\": the last message must be the assistant's"
    ),
    (
      .completion, #"{"messages":[\#(q),\#(answer(""))]}"#,
      "\"messages\": the last message is empty"
    ),
    (.completion, #"{"messages":[\#(q),3]}"#, "\"messages\"[1] is a number"),
    (.completion, #"{"messages":[{"content":"x"}]}"#, "\"messages\"[0].role is missing"),
    (.completion, #"{"messages":[{"role":"user"}]}"#, "\"messages\"[0].content is missing"),
    (
      .completion, #"{"messages":[{"role":"user","content":null}]}"#,
      "\"messages\"[0].content is null"
    ),
    (
      .completion, #"{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}"#,
      "\"messages\"[0].content is a list"
    ),
    (
      .completion, #"{"messages":[{"role":"tool","content":"x"}]}"#,
      "role is 'tool'; known: system, user"
    ),
    (.completion, #"{"messages":[{"role":"User","content":"x"}]}"#, "role is 'User'"),
    (
      .completion, #"{"messages":[{"role":"assistant","content":"x","tool_calls":[1]}]}"#,
      "tool_calls is not supported"
    ),
    (
      .completion, #"{"messages":[\#(q),\#(answer("a"))],"tools":[{}]}"#,
      "\"tools\" is not supported"
    ),
    (
      .completion, #"{"prompt":"p","completion":[\#(answer("a"))]}"#,
      "one of \"prompt\" and \"completion\""
    ),
    (.completion, #"{"prompt":[\#(q)],"completion":"a"}"#, "one of \"prompt\" and \"completion\""),
    (.completion, #"{"prompt":[\#(q)],"completion":[]}"#, "\"completion\" has 0 messages"),
    (
      .completion, #"{"prompt":[\#(q)],"completion":[\#(q)]}"#,
      "\"completion\": the last message must be"
    ),
    (
      .completion, #"{"prompt":[\#(q),\#(answer("a"))],"completion":[\#(answer("b"))]}"#,
      "\"prompt\" ends with the assistant's"
    ),
    (.rewarded, #"{"prompt":"p","completion":"c"}"#, "\"reward\" is missing"),
    (.rewarded, #"{"prompt":"p","completion":"c","label":true}"#, "\"reward\" is missing"),
    (.rewarded, #"{"prompt":"p","completion":"c","reward":true}"#, "\"reward\" is a truth value"),
    (.rewarded, #"{"prompt":"p","completion":"c","reward":"1"}"#, "\"reward\" is a string"),
    (.rewarded, #"{"prompt":"p","completion":"c","reward":1e999}"#, "\"reward\" is too large"),
    (.rewarded, #"{"prompt":"p","chosen":"a","rejected":"b"}"#, "\"completion\" is missing"),
    (.preference, #"{"prompt":"p","completion":"c"}"#, "\"chosen\" is missing"),
    (.preference, #"{"messages":[\#(q),\#(answer("a"))]}"#, "\"chosen\" is missing"),
    (.preference, #"{"prompt":"p","chosen":"c"}"#, "\"rejected\" is missing"),
    (.preference, #"{"chosen":"a","rejected":"b"}"#, "\"prompt\" is missing"),
    (.preference, #"{"prompt":"p","chosen":"","rejected":"b"}"#, "\"chosen\" is empty"),
    (.preference, #"{"prompt":"p","chosen":"a","rejected":""}"#, "\"rejected\" is empty"),
    (.preference, #"{"prompt":"p","chosen":"a","rejected":"a"}"#, "are the same"),
    (.preference, #"{"prompt":"p","chosen":1,"rejected":"a"}"#, "\"chosen\" is a number"),
    (
      .preference, #"{"prompt":"p","chosen":[\#(answer("a"))],"rejected":[\#(answer("b"))]}"#,
      "one of \"prompt\" and \"chosen\""
    ),
    (
      .preference, #"{"prompt":"p","chosen":"a","rejected":[]}"#,
      "one of \"chosen\" and \"rejected\""
    ),
    (.preference, #"{"chosen":[],"rejected":[]}"#, "\"chosen\" has 0 messages"),
    (.preference, #"{"chosen":[],"rejected":[\#(q)]}"#, "\"chosen\" has 0 messages"),
    (
      .preference, #"{"chosen":[\#(q),\#(answer("a"))],"rejected":[\#(q),\#(answer("a"))]}"#,
      "are the same"
    ),
    (
      .preference,
      #"{"chosen":[\#(q),\#(answer("a"))],"rejected":[\#(q),\#(answer("b")),\#(q),\#(answer("c"))]}"#,
      "\"rejected\" has 3 messages after the prompt"
    ),
    (
      .preference, #"{"chosen":[\#(q),\#(q)],"rejected":[\#(q),\#(answer("a"))]}"#,
      "\"chosen\": the last"
    ),
    (
      .preference, #"{"chosen":[\#(q)],"rejected":[\#(q)]}"#, "\"chosen\": the last message must be"
    ),
  ]

  @Test(arguments: refused)
  func refuses(layout: DataLayout, line: String, words: String) {
    expectError(.invalidArgument, words) { () throws(IVGError) in try read(layout, line) }
  }

  /// Only lines with messages need a template.
  @Test func withoutTemplate() throws {
    let error = IVGError(.unsupported, "render beforehand")
    let reader = ExampleReader(layout: .completion, chatTemplate: .failure(error))
    #expect(try reader.read(parse(#"{"text":"t"}"#)) == completion("", "t"))
    expectError(.unsupported, "render beforehand") { () throws(IVGError) in
      try reader.read(parse(#"{"messages":[\#(Self.q),\#(Self.answer("a"))]}"#))
    }
  }

  @Test func longRolesAreCut() {
    let role = String(repeating: "x", count: 100_000)
    do throws(IVGError) {
      _ = try read(.completion, #"{"messages":[{"role":"\u001b\#(role)","content":""}]}"#)
      Issue.record("read")
    } catch {
      #expect(error.message.utf8.count < 300 && !error.message.utf8.contains(0x1B))
    }
  }
}
