import GGUF
import Glibc
import Tensor
import TestSupport
import Testing
import Tokenizer
import Training

/// Against what jinja2 makes of the same templates (Tests/Fixtures/make_chat_templates.py).
@Suite struct ChatTemplateTests {
  let fixture: JSONValue

  init() throws {
    fixture = try parse(contents(of: Fixtures.path("chat-templates.json")))
  }

  private func list(_ value: JSONValue?) throws -> [JSONValue] {
    guard case .array(let list)? = value else {
      Issue.record("no list")
      return []
    }
    return list
  }

  private func string(_ value: JSONValue?) throws -> [UInt8] {
    guard case .string(let bytes)? = value else {
      Issue.record("no string")
      return []
    }
    return bytes
  }

  /// The template of an entry; its tokens are those that the fixture was made with.
  private func template(_ source: [UInt8]) throws(IVGError) -> ChatTemplate {
    try ChatTemplate(
      source: source, label: "x", begin: Array("<BOS>".utf8), end: Array("<EOS>".utf8))
  }

  private func messages(_ value: JSONValue?) throws -> [ChatMessage] {
    try list(value).map { message in
      let role = String(decoding: try string(message["role"]), as: UTF8.self)
      return ChatMessage(
        role: try #require(ChatRole(rawValue: role)), content: try string(message["content"]))
    }
  }

  @Test func rendersAsJinja() throws {
    let known = try list(fixture["known"])
    #expect(known.count == 37)
    for entry in known {
      let name = String(decoding: try string(entry["name"]), as: UTF8.self)
      let template = try template(string(entry["source"]))
      let cases = try list(entry["cases"])
      #expect(cases.count >= 40)
      #expect(cases.count { $0["text"] != .null } >= 12, "\(name)")
      for one in cases {
        let messages = try messages(one["messages"])
        let generation = one["generation"] == .bool(true)
        if one["text"] == .null {
          expectError(.invalidArgument, "takes no such conversation") {
            () throws(IVGError) in
            try template.render(messages, addGenerationPrompt: generation)
          }
          continue
        }
        let wanted = try string(one["text"])
        let text = try template.render(messages, addGenerationPrompt: generation)
        #expect(text == wanted, "\(name): \(String(decoding: text, as: UTF8.self))")
      }
    }
  }

  @Test func partsAreTheWhole() throws {
    for entry in try list(fixture["known"]) {
      let name = String(decoding: try string(entry["name"]), as: UTF8.self)
      let template = try template(string(entry["source"]))
      for one in try list(entry["cases"]) where one["text"] != .null {
        let messages = try messages(one["messages"])
        guard messages.last?.role == .assistant, one["generation"] == .bool(false) else { continue }
        let parts = try template.split(messages)
        #expect(parts.completion.suffix(template.turnEnd.count) == template.turnEnd[...])
        // Mistral's templates move a system message into the last turn, if that is the user's, and
        // Qwen's leave out old thoughts: what was read is then not what the whole has.
        if messages[0].role == .system, name.contains("v3") || name.contains("nemo") { continue }
        if name == "qwen3", messages.count > 2 { continue }
        // Tulu's end a prompt with an answer as if nothing came behind it.
        if messages.dropLast().last?.role == .assistant { continue }
        let wanted = try string(one["text"])
        let whole = parts.prompt + parts.completion
        #expect(wanted.starts(with: whole), "\(name): \(String(decoding: whole, as: UTF8.self))")
        #expect(wanted.count - whole.count <= 48)
      }
    }
  }

  @Test func othersAreRefused() throws {
    let foreign = try list(fixture["foreign"])
    #expect(foreign.count == 14)
    for entry in foreign {
      expectError(.unsupported, "x: the chat template", "\"prompt\" and \"completion\" beforehand")
      {
        () throws(IVGError) in
        try template(try! string(entry["source"]))
      }
    }
  }

  /// A template with any byte missing or changed is another one, or means the same.
  @Test func nearlyKnown() throws {
    for entry in try list(fixture["known"]) {
      let source = try string(entry["source"])
      let message = ChatMessage(role: .user, content: Array("x".utf8))
      let wanted = try template(source).render([message], addGenerationPrompt: true)
      // Every byte of short templates, some of long ones.
      for position in stride(from: 0, to: source.count, by: max(1, source.count / 400)) {
        var other = source
        other.remove(at: position)
        guard let template = try? template(other) else { continue }
        let text = try template.render([message], addGenerationPrompt: true)
        // White space between words, or a letter of the default system message.
        let isSpace = source[position] == 0x20 || source[position] == 0x0A
        #expect(text == wanted ? isSpace : text.count < wanted.count, "\(position)")
      }
    }
  }

  @Test func hostileTemplates() throws {
    var random = RandomNumbers(seed: 5)
    for entry in try list(fixture["known"]) {
      let source = try string(entry["source"])
      for count in stride(from: 0, to: source.count - 1, by: max(1, source.count / 200)) {
        #expect(throws: IVGError.self) {
          try template(Array(source[..<count]))
        }
      }
      for _ in 0..<100 {
        var other = source
        for _ in 0..<3 {
          other[Int.random(in: other.indices, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        _ = try? template(other)
      }
    }
    for piece in ["{{ '", "{% \\", "\\", "'", "{", "{{ '\\"] {
      let long = Array(String(repeating: piece, count: 100_000).utf8)
      #expect(throws: IVGError.self) { try template(long) }
    }
  }

  @Test func needsAnAnswer() throws {
    let file = try GGUFFile(path: Fixtures.path("tiny-llama.gguf"))
    let template = try ChatTemplate(file: file, tokenizer: Tokenizer(file: file))
    #expect(template.family == "ChatML")
    expectError(.invalidArgument, "at least one") { () throws(IVGError) in
      try template.render([], addGenerationPrompt: true)
    }
    for messages in [[], [ChatMessage(role: .user, content: [65])]] {
      expectError(.invalidArgument, "the assistant's") { () throws(IVGError) in
        try template.split(messages)
      }
    }
    let alone = try template.split([ChatMessage(role: .assistant, content: [65])])
    #expect(alone.prompt == Array("<|im_start|>assistant\n".utf8))
    #expect(alone.completion == Array("A<|im_end|>".utf8))
  }

  @Test func theModelOfTheDemo() throws {
    guard let path = realModel() else { return }
    let file = try GGUFFile(path: path)
    let template = try ChatTemplate(file: file, tokenizer: Tokenizer(file: file))
    let text = try template.render(
      [ChatMessage(role: .user, content: Array("Hi".utf8))], addGenerationPrompt: true)
    let wanted =
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
      + "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    #expect(text == Array(wanted.utf8))
  }
}
