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

  private func messages(_ value: JSONValue?) throws -> [ChatMessage] {
    try list(value).map { message in
      let role = String(decoding: try string(message["role"]), as: UTF8.self)
      return ChatMessage(
        role: try #require(ChatRole(rawValue: role)), content: try string(message["content"]))
    }
  }

  @Test func rendersAsJinja() throws {
    let known = try list(fixture["known"])
    #expect(known.count == 8)
    for entry in known {
      let template = try ChatTemplate(source: string(entry["source"]), label: "x")
      let cases = try list(entry["cases"])
      #expect(cases.count == 16)
      for one in cases {
        let messages = try messages(one["messages"])
        let generation = one["generation"] == .bool(true)
        let wanted = try string(one["text"])
        let text = try template.render(messages, addGenerationPrompt: generation)
        #expect(text == wanted, "\(String(decoding: text, as: UTF8.self))")
        // The parts of a conversation are its whole, but for what follows the last turn.
        if messages.last?.role == .assistant, !generation {
          let parts = try template.split(messages)
          #expect(parts.prompt + parts.completion + Array("\n".utf8) == wanted)
          #expect(parts.completion.suffix(10) == Array("<|im_end|>".utf8)[...])
          #expect(parts.prompt.suffix(22) == Array("<|im_start|>assistant\n".utf8)[...])
        }
      }
    }
  }

  @Test func othersAreRefused() throws {
    let foreign = try list(fixture["foreign"])
    #expect(foreign.count == 11)
    for entry in foreign {
      let name = String(decoding: try string(entry["name"]), as: UTF8.self)
      expectError(.unsupported, name, "\"prompt\" and \"completion\" beforehand") {
        () throws(IVGError) in
        try ChatTemplate(source: try! string(entry["source"]), label: name)
      }
    }
  }

  /// A template with any byte missing or changed is another one, or means the same.
  @Test func nearlyKnown() throws {
    for entry in try list(fixture["known"]) {
      let source = try string(entry["source"])
      let message = ChatMessage(role: .user, content: Array("x".utf8))
      let wanted = try ChatTemplate(source: source, label: "x")
        .render([message], addGenerationPrompt: true)
      for position in source.indices {
        var other = source
        other.remove(at: position)
        guard let template = try? ChatTemplate(source: other, label: "x") else { continue }
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
      for count in 0..<source.count - 1 {
        #expect(throws: IVGError.self) {
          try ChatTemplate(source: Array(source[..<count]), label: "x")
        }
      }
      for _ in 0..<500 {
        var other = source
        for _ in 0..<3 {
          other[Int.random(in: other.indices, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        _ = try? ChatTemplate(source: other, label: "x")
      }
    }
    for piece in ["{{ '", "{% \\", "\\", "'", "{", "{{ '\\"] {
      let long = Array(String(repeating: piece, count: 100_000).utf8)
      #expect(throws: IVGError.self) { try ChatTemplate(source: long, label: "x") }
    }
  }

  @Test func needsAnAnswer() throws {
    let template = try ChatTemplate(file: GGUFFile(path: Fixtures.path("tiny-llama.gguf")))
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
    let template = try ChatTemplate(file: GGUFFile(path: path))
    let text = try template.render(
      [ChatMessage(role: .user, content: Array("Hi".utf8))], addGenerationPrompt: true)
    let wanted =
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
      + "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    #expect(text == Array(wanted.utf8))
  }
}
