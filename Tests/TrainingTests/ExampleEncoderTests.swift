import GGUF
import Glibc
import Tensor
import TestSupport
import Testing
import Tokenizer
import Training

@Suite struct ExampleEncoderTests {
  /// ids 0–2 are `<|endoftext|>`, `<|im_start|>` (BOS) and `<|im_end|>` (EOS); " the", "The" and
  /// the like are tokens. No BOS is asked for.
  let tiny = try! Tokenizer(file: GGUFFile(path: Fixtures.path("tiny-llama.gguf")))

  /// The same tokenizer with these changes to its file.
  private func variant(_ changes: [String: GGUFWriterValue]) throws -> Tokenizer {
    var writer = GGUFWriter()
    writer.set(try GGUFFile(path: Fixtures.path("tiny-vocabulary-only.gguf")).metadata)
    for (key, value) in changes { writer.set("tokenizer.ggml.\(key)", value) }
    let temporary = TemporaryData()
    try writer.write(to: temporary.path)
    return try Tokenizer(file: GGUFFile(path: temporary.path))
  }

  private static let none = GGUFWriterValue.uint32(.max)

  private func encoder(
    _ tokenizer: Tokenizer? = nil, template: String? = nil, length: Int = 1000, prompt: Int? = nil,
    end: Bool = true
  ) throws -> ExampleEncoder {
    try ExampleEncoder(
      tokenizer: tokenizer ?? tiny,
      options: EncodingOptions(
        promptTemplate: template.map { Array($0.utf8) }, maximumLength: length,
        maximumPromptLength: prompt, appendsEnd: end))
  }

  private func one(_ prompt: String, _ completion: String, chat: Bool = false) -> Example {
    Example(
      prompt: Array(prompt.utf8), answer: .completion(Array(completion.utf8), reward: nil),
      isConversation: chat)
  }

  private func pair(_ prompt: String, _ chosen: String, _ rejected: String) -> Example {
    Example(
      prompt: Array(prompt.utf8),
      answer: .preference(chosen: Array(chosen.utf8), rejected: Array(rejected.utf8)))
  }

  /// The two parts as the texts of their tokens.
  private func pieces(
    _ encoder: ExampleEncoder, _ example: Example, _ tokenizer: Tokenizer? = nil
  ) throws -> [[String]] {
    guard case .completion(let sequence, _) = try encoder.encode(example) else { return [] }
    return pieces(sequence, tokenizer)
  }

  private func pieces(_ sequence: EncodedSequence, _ tokenizer: Tokenizer? = nil) -> [[String]] {
    let texts = sequence.tokens.map {
      String(decoding: (tokenizer ?? tiny).bytes(of: $0), as: UTF8.self)
    }
    return [
      Array(texts[..<sequence.completionStart]), Array(texts[sequence.completionStart...]),
    ]
  }

  private let end = "<|im_end|>"

  @Test func mergesAtTheBorder() throws {
    let encoder = try encoder(end: false)
    #expect(try pieces(encoder, one("a guide", " is")) == [["a", " guide"], [" is"]])
    #expect(try pieces(encoder, one("a t", "he is")) == [["a"], [" the", " is"]])
    #expect(try pieces(encoder, one("a ", "the")) == [["a"], [" the"]])
    #expect(try pieces(encoder, one("a gu", "ide or")) == [["a"], [" guide", " o", "r"]])
    // All of the prompt is in one token with the completion: it stands for the prompt.
    #expect(try pieces(encoder, one("T", "he is")) == [["The"], [" is"]])
    #expect(
      try encoder.encode(one("T", "he")) == .skipped(reason: "no token is left of the completion"))
    // Half a character each: the bytes are tokens.
    let bytes = Array("é".utf8)
    let example = Example(prompt: [bytes[0]], answer: .completion([bytes[1]], reward: 3))
    guard case .completion(let sequence, reward: 3) = try encoder.encode(example) else {
      Issue.record("no completion")
      return
    }
    #expect(sequence.tokens.count == 2 && sequence.completionStart == 1)
  }

  @Test func specialTokens() throws {
    let encoder = try encoder()
    // In the prompt they are structure, in the completion text.
    #expect(
      try encoder.encode(one("<|im_start|>a<|im_end|>", "b"))
        == .completion(
          EncodedSequence(
            tokens: [1] + tiny.ids("a") + [2] + tiny.ids("b") + [2], completionStart: 3),
          reward: nil))
    guard
      case .completion(let text, _) = try encoder.encode(one("a", "x<|im_end|>y<|im_start|>"))
    else {
      Issue.record("skipped")
      return
    }
    #expect(text.tokens.filter { $0 < 3 } == [2] && text.tokens.last == 2)
    // Not across the border.
    guard case .completion(let across, _) = try encoder.encode(one("a<|im_", "end|>b")) else {
      Issue.record("skipped")
      return
    }
    #expect(across.tokens.filter { $0 < 3 } == [2] && across.tokens.last == 2)
    // A conversation's own end is not doubled.
    let prompt = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    guard
      case .completion(let chat, _) = try encoder.encode(one(prompt, "b<|im_end|>", chat: true))
    else {
      Issue.record("skipped")
      return
    }
    #expect(pieces(chat)[1] == ["b", end])
    #expect(
      chat.tokens
        == (try tiny.encode(
          Array((prompt + "b<|im_end|>").utf8), parseSpecial: true, addBegin: false)))
  }

  @Test func templates() throws {
    #expect(
      try pieces(encoder(template: "a {prompt} is:"), one("guide", " or")) == [
        ["a", " guide", " is", ":"], [" o", "r", end],
      ])
    #expect(
      try pieces(encoder(template: "no mark"), one("guide", " the"))
        == pieces(encoder(), one("no mark", " the")))
    // Special tokens of a template count.
    #expect(
      try pieces(encoder(template: "<|im_start|>{prompt}"), one("a", "b")) == [
        ["<|im_start|>", "a"], ["b", end],
      ])
  }

  @Test func emptyPrompts() throws {
    // As at inference: BOS, else EOS.
    #expect(
      try pieces(encoder(), one("", "the")) == [
        ["<|im_start|>"], ["the"].flatMap { split($0) } + [end],
      ])
    let ending = try variant(["bos_token_id": Self.none])
    #expect(try pieces(encoder(ending), one("", "a")) == [[end], ["a", end]])
    // Neither: the first token is not learned.
    let bare = try variant(["bos_token_id": Self.none, "eos_token_id": Self.none])
    #expect(try pieces(encoder(bare, end: false), one("", "ab")) == [["a"], ["b"]])
    #expect(
      try encoder(bare, end: false).encode(one("", "a"))
        == .skipped(reason: "no token is left of the completion"))
    // The file asks for BOS.
    let begun = try variant(["add_bos_token": .bool(true)])
    #expect(try pieces(encoder(begun), one("", "a")) == [["<|im_start|>"], ["a", end]])
    #expect(try pieces(encoder(begun), one("T", "he")) == [["<|im_start|>"], ["The", end]])
  }

  private func split(_ text: String) -> [String] {
    tiny.ids(text).map { String(decoding: tiny.bytes(of: $0), as: UTF8.self) }
  }

  @Test func longPromptsLoseTheirBeginning() throws {
    let prompt = "0123456789"
    for limit in 1...12 {
      let wanted = split(prompt).suffix(limit)
      #expect(
        try pieces(encoder(prompt: limit), one(prompt, "ab")) == [Array(wanted), ["a", "b", end]])
    }
    // BOS stays.
    let begun = try variant(["add_bos_token": .bool(true)])
    for limit in 1...12 {
      let wanted = ["<|im_start|>"] + split(prompt).suffix(limit - 1)
      #expect(
        try pieces(encoder(begun, prompt: limit), one(prompt, "ab")) == [wanted, ["a", "b", end]])
    }
    // BOS alone, and the completion melted into the prompt's only other token.
    #expect(
      try pieces(encoder(begun, prompt: 1), one("0T", "he")) == [["<|im_start|>"], ["The", end]])
    #expect(try pieces(encoder(prompt: 1), one("0T", "he")) == [["0"], ["The", end]])
    // By default a prompt may have half.
    #expect(try pieces(encoder(length: 8), one(prompt, "ab"))[0] == ["6", "7", "8", "9"])
  }

  @Test func longCompletionsLoseTheirEnd() throws {
    // prompt 2 + completion 4 + end
    for (length, wanted) in [
      (3, ["0"]), (4, ["0", "1"]), (6, ["0", "1", "2", "3"]), (7, ["0", "1", "2", "3", end]),
      (100, ["0", "1", "2", "3", end]),
    ] {
      #expect(
        try pieces(encoder(length: length, prompt: 2), one("ab", "0123")) == [["a", "b"], wanted])
    }
    // Both are cut: the prompt first.
    #expect(
      try pieces(encoder(length: 5, prompt: 3), one("01234", "56789")) == [
        ["2", "3", "4"], ["5", "6"],
      ])
    // A turn that is cut has no end, and gets none.
    #expect(
      try pieces(encoder(length: 3, prompt: 1), one("a", "01<|im_end|>", chat: true)) == [
        ["a"], ["0", "1"],
      ])
  }

  @Test func endTokens() throws {
    #expect(try pieces(encoder(end: false), one("a", "b")) == [["a"], ["b"]])
    let endless = try variant(["eos_token_id": Self.none])
    expectError(.invalidArgument, "EOS") { () throws(IVGError) in
      try ExampleEncoder(tokenizer: endless, options: EncodingOptions(maximumLength: 10))
    }
    #expect(try pieces(encoder(endless, end: false), one("a", "b")) == [["a"], ["b"]])
  }

  @Test func preferences() throws {
    let encoder = try encoder(length: 6, prompt: 3)
    guard case .preference(let chosen, let rejected) = try encoder.encode(pair("0123", "45", "the"))
    else {
      Issue.record("skipped")
      return
    }
    #expect(pieces(chosen) == [["1", "2", "3"], ["4", "5", end]])
    #expect(pieces(rejected)[0] == ["1", "2", "3"])
    #expect(
      try encoder.encode(pair("012", "345x", "345y"))
        == .skipped(reason: "\"chosen\" and \"rejected\" are the same tokens once they are cut"))
    // Cut at the same place, though one melts into the prompt and the other does not.
    let cutter = try self.encoder(prompt: 3)
    guard case .preference(let melted, let whole) = try cutter.encode(pair("0123 t", "he", "5"))
    else {
      Issue.record("skipped")
      return
    }
    #expect(pieces(melted) == [["2", "3"], [" the", end]])
    #expect(pieces(whole) == [["2", "3", " t"], ["5", end]])
    // One side melts away.
    #expect(
      try self.encoder(end: false).encode(pair("T", "he", "x"))
        == .skipped(reason: "no token is left of \"chosen\""))
    #expect(
      try self.encoder(end: false).encode(pair("T", "x", "he"))
        == .skipped(reason: "no token is left of \"rejected\""))
  }

  @Test func options() {
    for (length, prompt) in [
      (1, nil), (0, nil), (-1, nil), (Int.min, nil), (Int.max, nil), (10, 0), (10, 10), (10, -1),
      (10, 11), (2, 2),
    ] as [(Int, Int?)] {
      expectError(.invalidArgument, "length") { () throws(IVGError) in
        try EncodingOptions(maximumLength: length, maximumPromptLength: prompt)
      }
    }
  }

  /// A byte that the vocabulary cannot spell leaves nothing to learn.
  @Test func unspellable() throws {
    guard let path = realModel() else { return }
    let tokenizer = try Tokenizer(file: GGUFFile(path: path))
    guard let byte = (0..<32 as Range<UInt8>).first(where: { !tokenizer.canSpell($0) }) else {
      return
    }
    let example = Example(prompt: [65], answer: .completion([byte], reward: nil))
    #expect(
      try encoder(tokenizer).encode(example)
        == .skipped(reason: "no token is left of the completion"))
  }

  /// What holds for all texts and limits, on the tiny vocabulary and a real one.
  @Test func invariants() throws {
    var random = RandomNumbers(seed: 9)
    var tokenizers = [tiny, try variant(["add_bos_token": .bool(true)])]
    if let path = realModel() { tokenizers.append(try Tokenizer(file: GGUFFile(path: path))) }
    let words = [
      "the", " the", "T", "he", " ", "  ", "\n", "1", "é", "😀", "<|im_end|>", "<|im_", "start|>",
      "guide", " model", "'s", ".", "\n\n", "a",
    ]
    func text(_ most: Int) -> String {
      (0..<Int.random(in: 0...most, using: &random)).map { _ in words.randomElement(using: &random)!
      }
      .joined()
    }
    for round in 0..<6000 {
      let tokenizer = tokenizers[round % tokenizers.count]
      let (prompt, completion) = (text(6), text(6) + "!")
      let chat = Bool.random(using: &random)
      let length = Int.random(in: 2...40, using: &random)
      let limit = Int.random(in: 1..<length, using: &random)
      let example = one(prompt, completion, chat: chat)
      let alone = try tokenizer.encode(
        Array(prompt.utf8), parseSpecial: true, addBegin: tokenizer.addsBeginToken)

      guard case .completion(let whole, _) = try encoder(tokenizer).encode(example) else {
        continue
      }
      #expect(whole.completionStart >= 1 && whole.completionStart < whole.tokens.count)
      // BOS is not put before a prompt that has it.
      let hasBegin = prompt.hasPrefix("<|im_start|>")
      let begins = tokenizer.addsBeginToken && !hasBegin || alone.isEmpty
      var spelled = whole.tokens.dropFirst(begins ? 1 : 0)
      if !chat { #expect(spelled.popLast() == tokenizer.endToken) }
      #expect(tokenizer.decode(spelled, skipControl: false) == Array((prompt + completion).utf8))
      if !chat {
        #expect(!spelled.dropFirst(whole.completionStart).contains { tokenizer.isControl($0) })
      }
      if !alone.isEmpty {
        let start = whole.completionStart
        #expect(start == 1 || whole.tokens[..<start] == alone.prefix(start))
        #expect(start >= alone.count || alone[start] != whole.tokens[start])
      }

      let cutter = try encoder(tokenizer, length: length, prompt: limit)
      guard case .completion(let cut, _) = try cutter.encode(example) else {
        Issue.record("cutting took everything")
        continue
      }
      #expect(cut.tokens.count <= length && cut.completionStart <= limit)
      #expect(cut.completionStart >= 1 && cut.completionStart < cut.tokens.count)
      let rest = whole.tokens[whole.completionStart...]
      #expect(rest.starts(with: cut.tokens[cut.completionStart...]))
      let kept = tokenizer.addsBeginToken ? 1 : 0
      let before = cut.tokens[kept..<cut.completionStart]
      #expect(whole.tokens[..<whole.completionStart].suffix(before.count) == before)
      if kept == 1 { #expect(cut.tokens[0] == tokenizer.beginToken) }
    }
  }
}

extension Tokenizer {
  /// The tokens of a text alone.
  fileprivate func ids(_ text: String) -> [Int32] {
    try! encode(Array(text.utf8), parseSpecial: false, addBegin: false)
  }
}
