import GGUF
import Tensor
import TestSupport
import Testing
import Tokenizer

/// SentencePiece vocabularies, against SentencePiece and llama.cpp.
@Suite struct SentencePieceTests {
  private struct Case: Decodable {
    var text: String
    /// As a text's beginning; missing where llama.cpp differs.
    var first: [Int32]?
    var continued: [Int32]
  }

  private struct GemmaCase: Decodable {
    var text: String
    var plain: [Int32]
    var special: [Int32]
  }

  private func tiny() throws -> Tokenizer {
    try Tokenizer(file: GGUFFile(path: Fixtures.path("tiny-sentencepiece.gguf")))
  }

  @Test func asSentencePiece() throws {
    let tokenizer = try tiny()
    #expect(tokenizer.kindName == "llama")
    #expect(tokenizer.beginToken == 1 && tokenizer.endToken == 2 && tokenizer.addsBeginToken)
    let cases = try JSONFixture.read("sentencepiece.json", as: [Case].self)
    #expect(cases.count >= 200)
    for item in cases {
      let text = Array(item.text.utf8)
      let continued = try tokenizer.encode(
        text, parseSpecial: false, addBegin: false, continues: true)
      #expect(continued == item.continued, "\(item.text.debugDescription)")
      #expect(tokenizer.decode(continued, skipControl: false, continues: true) == text)
      guard let first = item.first else { continue }
      #expect(try tokenizer.encode(text) == first, "\(item.text.debugDescription)")
      #expect(tokenizer.decode(first, skipControl: false) == text)
      #expect(tokenizer.decode([1] + first, skipControl: true) == text)
    }
  }

  @Test func asLlamaCpp() throws {
    guard let path = TestFiles.gemma() else { return }
    let tokenizer = try Tokenizer(file: GGUFFile(path: path))
    #expect(tokenizer.addsBeginToken && tokenizer.beginToken == 2)
    let cases = try JSONFixture.read("gemma-tokens.json", as: [GemmaCase].self)
    #expect(cases.count >= 300)
    for item in cases {
      #expect(try tokenizer.encode(item.text) == item.plain, "\(item.text.debugDescription)")
      #expect(try tokenizer.encode(item.text, parseSpecial: true) == item.special)
      // By code points: marks join what is before them.
      var text = ""
      for scalar in item.text.unicodeScalars {
        text.unicodeScalars.append(scalar == "▁" ? " " : scalar)
      }
      #expect(tokenizer.decode(item.plain, skipControl: false) == Array(text.utf8))
    }
  }

  @Test func spaceInFront() throws {
    let tokenizer = try tiny()
    let hello = Array("the".utf8)
    let first = try tokenizer.encode(hello)
    let continued = try tokenizer.encode(
      hello, parseSpecial: false, addBegin: false, continues: true)
    #expect(first != continued)
    // Behind a special token a text begins again, and the last of these spaces is no text's first.
    let parts = try tokenizer.encode("</s>the", parseSpecial: true)
    #expect(parts == [2] + first)
    #expect(tokenizer.decode(parts, skipControl: false) == Array("</s>the".utf8))
    #expect(tokenizer.decode(parts, skipControl: true) == hello)
    // Two texts one behind the other are not one text.
    #expect(tokenizer.decode(first + first, skipControl: false) == Array("the the".utf8))
    #expect(tokenizer.decode(first, skipControl: false, continues: true) == Array(" the".utf8))
  }

  @Test func unknownCharacters() throws {
    let pieces: [(String, Float, Int32)] = [("▁", -1, 1), ("a", -1, 1), ("bc", -2, 1), ("▁a", -1, 1)]
    let tokenizer = try TestVocabulary(pieces: pieces, bytes: false).tokenizer()
    #expect(try tokenizer.encode("a") == [6])
    // A run becomes one.
    #expect(try tokenizer.encode("xyz") == [3, 0])
    #expect(try tokenizer.encode("axyaé中a x") == [6, 0, 4, 0, 4, 3, 0])
    #expect(try tokenizer.encode("xbcy") == [3, 0, 5, 0])
    #expect(try tokenizer.encode([0xFF, 0x80, 97, 0xFF]) == [3, 0, 4, 0])
    // One that is written out is no part of a run.
    #expect(try tokenizer.encode("<unk>", parseSpecial: true) == [0])
    #expect(
      try tokenizer.encode(
        Array("<unk>x".utf8), parseSpecial: true, addBegin: false, continues: true).count == 3)
    var random = TestRandom(seed: 4)
    let parts = ["a", "x", "y", "bc", "b", "c", " ", "é", "中"].map { Array($0.utf8) } + [[0x80]]
    for _ in 0..<300 {
      var followed = FollowedText()
      var text: [UInt8] = []
      for _ in 0..<12 {
        text += parts.randomElement(using: &random)!
        _ = try followed.update(to: text, with: tokenizer)
        let whole = try tokenizer.encode(text, parseSpecial: false, addBegin: false, continues: true)
        #expect(followed.tokens == whole, "\(String(decoding: text, as: UTF8.self).debugDescription)")
      }
    }
  }

  /// `<s>` is 1, `[x]` 259, ` ` 260, `a` 261, ` a` 262.
  private func file(_ prefix: String?, isAdded: Bool = true) -> TestVocabulary {
    var file = TestVocabulary(pieces: [("[x]", 0, 3), ("▁", 0, 1), ("a", 0, 1), ("▁a", -1, 1)])
    file.add("tokenizer.ggml.add_space_prefix", bool: isAdded)
    if let prefix { file.add("tokenizer.ivg.space_prefix", string: prefix) }
    return file
  }

  @Test func prefixSchemes() throws {
    for (prefix, plain, spaced, behind, behindSpaced) in [
      (nil, [262], [260, 262], [259, 262, 259, 260, 262], [1, 260, 262]),
      ("everywhere", [262], [260, 262], [259, 262, 259, 260, 262], [1, 260, 262]),
      ("first", [262], [262], [259, 261, 259, 262], [1, 262]),
      ("always", [262], [262], [259, 262, 259, 262], [1, 262]),
      ("none", [261], [262], [259, 261, 259, 262], [1, 262]),
    ] as [(String?, [Int32], [Int32], [Int32], [Int32])] {
      let tokenizer = try file(prefix).tokenizer()
      let name = Comment(rawValue: prefix ?? "llama.cpp")
      #expect(try tokenizer.encode("a") == plain, name)
      #expect(try tokenizer.encode(" a") == spaced, name)
      #expect(try tokenizer.encode("▁a") == spaced, name)
      #expect(try tokenizer.encode("[x]a[x] a", parseSpecial: true) == behind, name)
      #expect(try tokenizer.encode("<s> a", parseSpecial: true) == behindSpaced, name)
    }
    #expect(throws: IVGError.self) { try file("last").tokenizer() }
    #expect(try file("first", isAdded: false).tokenizer().encode("a") == [262])
  }

  @Test func prefixOfTheFirstTextAlone() throws {
    let tokenizer = try file("first").tokenizer()
    func encode(_ prompt: String, _ completion: String) throws -> [Int32] {
      try tokenizer.encode(
        prompt: Array(prompt.utf8), completion: Array(completion.utf8), addBegin: true)
    }
    #expect(try encode("", "a") == [1, 262])
    #expect(try encode("a", "a") == [1, 262, 261])
    #expect(try encode("[x]", "a") == [1, 259, 261])
    #expect(try encode("[x]a", "a") == [1, 259, 261, 261])
    #expect(try encode("[x] a", "a") == [1, 259, 262, 261])
    // The space is taken off again where it was put, and no other one.
    let texts = ["a", "aa", "[x]a", "[x] a", "a[x] a", "[x]", "a[x]a"]
    for text in texts {
      for addBegin in [false, true] {
        let ids = try tokenizer.encode(
          Array(text.utf8), parseSpecial: true, addBegin: addBegin)
        let expected = Array(((addBegin ? "<s>" : "") + text).utf8)
        #expect(tokenizer.decode(ids, skipControl: false) == expected, "\(text)")
      }
    }
    #expect(tokenizer.decode([1, 262], skipControl: true) == [97])
    #expect(tokenizer.decode([262], skipControl: true, continues: true) == [32, 97])
  }

  @Test func promptAndCompletion() throws {
    let tokenizer = try tiny()
    func encode(_ prompt: String, _ completion: String) throws -> [Int32] {
      try tokenizer.encode(
        prompt: Array(prompt.utf8), completion: Array(completion.utf8), addBegin: true)
    }
    func plain(_ text: String, continues: Bool) throws -> [Int32] {
      try tokenizer.encode(
        Array(text.utf8), parseSpecial: false, addBegin: false, continues: continues)
    }
    #expect(try encode("the va", "lue") == [1] + plain("the value", continues: false))
    #expect(try encode("", "the") == [1] + plain("the", continues: false))
    // The answer behind a special token is the model's own: no space that it did not write.
    #expect(try encode("</s>", "the") == [1, 2] + plain("the", continues: true))
    #expect(try encode("</s> t", "he") == [1, 2] + plain(" the", continues: false))
    #expect(try encode("a", "</s>").filter { $0 == 2 } == [])
    let parsed = try tokenizer.encode(
      prompt: Array("a</".utf8), completion: Array("s>".utf8), addBegin: false,
      parseCompletion: true)
    #expect(parsed.last == 2)
  }

  @Test func beginIsNeverDoubled() throws {
    let tokenizer = try tiny()
    func encode(_ text: String, parse: Bool) throws -> [Int32] {
      try tokenizer.encode(Array(text.utf8), parseSpecial: parse, addBegin: true)
    }
    #expect(try encode("<s>the", parse: true) == [1] + tokenizer.encode("the"))
    #expect(try encode("<s><s>", parse: true) == [1, 1])
    #expect(try encode("", parse: true) == [1])
    #expect(try encode("<s>", parse: true) == [1])
    // Not parsed, it is text.
    #expect(try encode("<s>", parse: false).count > 2)
    let prompt = Array("<s>the ".utf8)
    #expect(
      try tokenizer.encode(prompt: prompt, completion: [97], addBegin: true).filter { $0 == 1 }
        == [1])
  }

  @Test func longTextsAreFast() throws {
    let tokenizer = try tiny()
    let size = 1 << 20
    for unit in ["t", " ", "e", "the", "\n", "é", "東", "\u{0}", "thethe ", "\u{2581}"] {
      let text = Array(String(repeating: unit, count: size / unit.utf8.count).utf8)
      var ids: [Int32] = []
      let time = try processorTime {
        ids = try tokenizer.encode(text, parseSpecial: false, addBegin: false, continues: true)
      }
      let expected = unit == "\u{2581}" ? [UInt8](repeating: 32, count: size / 3) : text
      #expect(tokenizer.decode(ids, skipControl: false, continues: true) == expected)
      // The bound is for optimised builds.
      #if !DEBUG
        #expect(time < 2, "\(unit.debugDescription)")
      #else
        _ = time
      #endif
    }
  }

  @Test func anyBytesComeBack() throws {
    let tokenizer = try tiny()
    var random = TestRandom(seed: 5)
    let common: [UInt8] = Array(" thevaluer\n\té東".utf8) + [0x80, 0xC0, 0xE6, 0xED, 0xA0, 0xF4]
    for round in 0..<2000 {
      let text = (0..<Int.random(in: 0...80, using: &random)).map { _ in
        round % 2 == 0
          ? UInt8.random(in: 0...255, using: &random) : common.randomElement(using: &random)!
      }
      if text.containsMark { continue }
      let ids = try tokenizer.encode(
        text, parseSpecial: false, addBegin: false, continues: true)
      #expect(tokenizer.decode(ids, skipControl: false, continues: true) == text)
    }
  }
}

extension [UInt8] {
  /// Whether `▁` is in it.
  fileprivate var containsMark: Bool {
    indices.dropLast(2).contains {
      self[$0] == 0xE2 && self[$0 + 1] == 0x96 && self[$0 + 2] == 0x81
    }
  }
}
