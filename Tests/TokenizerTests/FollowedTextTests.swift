import GGUF
import TestSupport
import Testing
import Tokenizer

/// Following a growing text gives the tokens of the whole text, wherever it is cut, for all
/// vocabularies at hand.
@Suite struct FollowedTextTests {
  private static let parts =
    [
      "a", "b", "The", " the", "value", " ", "  ", "\n", "\n\n", "\r\n", "\t", "'s", "'", "’s",
      "don't", "1",
      "123", "é", "e\u{301}", "ß", "中", "文字。", "ไทย", "🦙", "👍🏽", "▁", "▁▁", ".", "...", "!", "/",
      "<s>", "</s>",
      "<|im_end|>", "<turn>", "\u{A0}", "\u{3000}", "x y z", "HTTPServer", " 'll", "I'M ",
    ].map { Array($0.utf8) } + [[0x80], [0xC3], [0xF0, 0x9F], [0xE2, 0x96]]

  /// Follows random texts of random parts and compares with encoding them whole.
  private func check(_ tokenizer: Tokenizer, _ what: String, seed: UInt64, rounds: Int = 60) throws
  {
    var random = TestRandom(seed: seed)
    for _ in 0..<rounds {
      var followed = FollowedText()
      var text: [UInt8] = []
      var tokens: [Int32] = []
      for _ in 0..<Int.random(in: 1...25, using: &random) {
        if Int.random(in: 0..<12, using: &random) == 0 {
          text.removeLast(Int.random(in: 0...text.count, using: &random))
        } else {
          for _ in 0..<Int.random(in: 1...3, using: &random) {
            text += Self.parts.randomElement(using: &random)!
          }
          // Tokens end within characters, too.
          if Bool.random(using: &random) { text.removeLast() }
        }
        let common = try followed.update(to: text, with: tokenizer)
        let whole = try tokenizer.encode(
          text, parseSpecial: false, addBegin: false, continues: true)
        #expect(
          followed.tokens == whole,
          "\(what): \(String(decoding: text, as: UTF8.self).debugDescription)")
        #expect(zip(tokens, whole).prefix { $0 == $1 }.count == common)
        tokens = whole
      }
    }
  }

  @Test func goldenVocabularies() throws {
    for name in ["llama-bpe", "gpt-2", "qwen2", "llama-spm"] {
      guard let tokenizer = try TestFiles.goldenVocabulary(name) else { continue }
      try check(tokenizer, name, seed: 1)
    }
    if let path = TestFiles.gemma() {
      try check(Tokenizer(file: GGUFFile(path: path)), "gemma", seed: 2)
    }
  }

  @Test func fixtures() throws {
    for name in ["tiny-llama", "tiny-qwen2", "tiny-sentencepiece"] {
      let tokenizer = try Tokenizer(file: GGUFFile(path: Fixtures.path(name + ".gguf")))
      try check(tokenizer, name, seed: 3, rounds: 200)
    }
  }

  @Test(arguments: [
    "gpt-2", "smollm", "default", "falcon", "llama-bpe", "qwen2", "seed-coder", "ufakzeka",
    "qwen35", "jais-2",
    "minicpm5", "laguna", "tekken", "gpt-4o", "granite-embed-multi-97m", "bloom", "viking",
    "deepseek-llm",
    "deepseek-coder", "deepseek-v3", "chameleon",
  ])
  func preTokenizers(_ pre: String) throws {
    // Any two neighbouring characters merge, so that every cut that is not the rules' shows.
    let letters = Array(" aTe1'.é\n中/".utf8).map { TestVocabulary.alphabet[Int($0)] }
    let merges = letters.flatMap { left in letters.map { "\(left) \($0)" } }
    for special in [[], [("a b", Int32(4))], [("<turn>", 4), ("\n\n", 4), ("  ", 4)]] {
      let file = TestVocabulary(pre: pre, merged: merges.sorted(), special: special)
      try check(file.tokenizer(), pre, seed: 4, rounds: 100)
    }
  }

  @Test func userDefinedPieces() throws {
    let pieces: [(String, Float, Int32)] = [
      ("▁", -1, 1), ("a", -1, 1), ("▁a", 0, 1), ("a▁", 1, 1), ("e", -1, 1), ("th", 0, 1),
      ("▁th", 2, 1),
    ]
    for special in [
      [], [("e", Float(0), Int32(4))], [("e ", 0, 4), ("\n", 0, 4)], [("<turn>", 0, 4)],
    ] {
      for addsSpace in [true, false] {
        var file = TestVocabulary(pieces: pieces + special)
        file.add("tokenizer.ggml.add_space_prefix", bool: addsSpace)
        try check(file.tokenizer(), "\(special)", seed: 6, rounds: 200)
      }
    }
  }

  @Test func onlyTheEndIsReadAgain() throws {
    for name in ["tiny-llama", "tiny-sentencepiece"] {
      let tokenizer = try Tokenizer(file: GGUFFile(path: Fixtures.path(name + ".gguf")))
      let text = Array(String(repeating: "the value of the ", count: 1000).utf8)
      let seam = try #require(tokenizer.lastSeam(in: text, after: 0))
      #expect(seam > text.count - 20)
      #expect(tokenizer.lastSeam(in: Array("thethe".utf8), after: 0) == nil || name != "tiny-llama")
    }
  }
}
