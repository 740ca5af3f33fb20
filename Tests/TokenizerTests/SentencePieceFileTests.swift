import GGUF
import Tensor
import TestSupport
import Testing
import Tokenizer

/// What SentencePiece vocabularies take from a file, what they refuse, and how they merge.
@Suite struct SentencePieceFileTests {
  private func expect(_ file: TestVocabulary, _ part: String) {
    do {
      _ = try file.tokenizer()
      Issue.record("no error; wanted one with \(part)")
    } catch {
      let error = error as? IVGError
      #expect(error?.kind == .corruptFile)
      #expect(error?.message.contains(part) == true, "\(error?.message ?? "no message")")
    }
  }

  private func file(tokens: [String], types: [Int32]? = nil, scores: [Float]? = nil)
    -> TestVocabulary
  {
    var file = TestVocabulary()
    file.add("tokenizer.ggml.model", string: "llama")
    file.add("tokenizer.ggml.tokens", strings: tokens)
    if let types { file.add("tokenizer.ggml.token_type", integers: types) }
    if let scores { file.add("tokenizer.ggml.scores", numbers: scores) }
    return file
  }

  @Test func refusals() {
    expect(file(tokens: []), "tokens has 0 entries")
    expect(file(tokens: ["a", "b"], scores: [1]), "scores has 1 entries for 2 tokens")
    expect(file(tokens: ["a", "b"], scores: [1, .nan]), "scores: entry 1")
    expect(file(tokens: ["a", "b"], scores: [-.infinity, 1]), "scores: entry 0")
    expect(file(tokens: ["a", "<0x4>"], types: [1, 6]), "entry 1 is a byte token")
    expect(file(tokens: ["<0xG1>"], types: [6]), "entry 0 is a byte token")
    expect(file(tokens: [""], types: [6]), "entry 0 is a byte token")
    var texts = file(tokens: ["a"])
    texts.add("tokenizer.ggml.scores", strings: ["1"])
    expect(texts, "scores does not hold numbers")
    var begin = TestVocabulary(pieces: [])
    begin.add("tokenizer.ggml.bos_token_id", integer: 5000)
    expect(begin, "bos_token_id")
  }

  @Test func higherScoresMergeFirst() throws {
    let pieces: [(String, Float, Int32)] = [
      ("a", -9, 1), ("b", -9, 1), ("c", -9, 1), ("ab", -2, 1), ("bc", -1, 1), ("abc", -3, 1),
      ("aa", -4, 1), ("▁", -9, 1), ("▁a", -5, 1),
    ]
    let file = TestVocabulary(pieces: pieces)
    let tokenizer = try file.tokenizer()
    func merged(_ text: String) throws -> [String] {
      try tokenizer.encode(
        Array(text.utf8), parseSpecial: false, addBegin: false, continues: true
      ).map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) }
    }
    #expect(try merged("abc") == ["abc"])
    #expect(try merged("aabc") == ["a", "abc"])
    #expect(try merged("aaa") == ["aa", "a"])
    #expect(try merged("abab") == ["ab", "ab"])
    #expect(try merged("a a▁a") == ["a", " a", " a"])
    #expect(try merged("x") == ["x"] && tokenizer.encode("x").count == 2)
  }

  @Test func theSameAsTheDefinition() throws {
    // Random scores, and stretches below and above the border between the two ways to merge.
    var random = TestRandom(seed: 8)
    for round in 0..<60 {
      var texts: Set<String> = ["a", "b", "é", "▁"]
      for _ in 0..<40 {
        texts.insert(
          (0..<Int.random(in: 2...5, using: &random)).map { _ in
            ["a", "b", "é", "▁"].randomElement(using: &random)!
          }.joined())
      }
      let pieces = texts.sorted().map {
        ($0, Float(Int.random(in: -9 ... -1, using: &random)), Int32(1))
      }
      let tokenizer = try TestVocabulary(pieces: pieces).tokenizer()
      for _ in 0..<20 {
        let letters = (0..<Int.random(in: 0...(round < 30 ? 20 : 90), using: &random)).map { _ in
          ["a", "b", "é", " ", "x"].randomElement(using: &random)!
        }
        let ids = try tokenizer.encode(
          Array(letters.joined().utf8), parseSpecial: false, addBegin: false, continues: true)
        let found = ids.map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) }
        #expect(found == Self.naive(letters, pieces))
      }
    }
  }

  /// Merges by the definition: again and again the leftmost of the pairs with the highest score.
  private static func naive(_ letters: [String], _ pieces: [(String, Float, Int32)]) -> [String] {
    var scores: [String: Float] = [:]
    for (text, score, _) in pieces {
      scores[text.split(separator: "▁", omittingEmptySubsequences: false).joined(separator: " ")] =
        score
    }
    var symbols = letters
    while true {
      var best: (score: Float, position: Int)?
      for position in symbols.indices.dropLast() {
        guard let score = scores[symbols[position] + symbols[position + 1]] else { continue }
        if best.map({ score > $0.score }) ?? true { best = (score, position) }
      }
      guard let best else { return symbols }
      symbols[best.position] += symbols.remove(at: best.position + 1)
    }
  }

  @Test func controlTokensNeverComeOutOfText() throws {
    let pieces: [(String, Float, Int32)] = [
      ("<", 0, 1), ("s", 0, 1), (">", 0, 1), ("<s", 0, 1), ("<0", 0, 1), ("<0x", 0, 1),
      ("<0xA", 0, 1), ("<0xAB", 0, 1), ("0", 0, 1), ("x", 0, 1), ("A", 0, 1), ("B", 0, 1),
    ]
    let tokenizer = try TestVocabulary(pieces: pieces).tokenizer()
    #expect(try !tokenizer.encode("<s>").contains(1))
    #expect(try tokenizer.encode("<s>", parseSpecial: true) == [1])
    #expect(try !tokenizer.encode("<0xAB>").contains(3 + 0xAB))
    #expect(try tokenizer.encode([0xAB]).contains(3 + 0xAB))
  }

  @Test func filesThatSayLittle() throws {
    // Without kinds they follow from the spelling; without scores the leftmost pair merges.
    let bytes = (0..<256).map { "<0x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) + ">" }
    let all = ["<unk>", "<s>", "</s>"] + bytes + ["a", "aa", "▁"]
    let tokenizer = try file(tokens: all).tokenizer()
    #expect(tokenizer.beginToken == 1 && tokenizer.endToken == 2)
    #expect(tokenizer.isControl(1) && !tokenizer.isControl(0) && tokenizer.endTokens == [2])
    #expect(try tokenizer.encode("aaa\n") == [261, 260, 259, 13])
    // Without byte tokens what has no piece is unknown.
    let few = try TestVocabulary(pieces: [("a", 0, 1)], bytes: false).tokenizer()
    #expect(try few.encode("xax") == [0, 3, 0] && !few.canSpell(120) && few.canSpell(97))
    #expect(try few.encode([0xFF, 97]) == [0, 3])
    // Token 1 of a file that names no BOS is taken for it only if it is a control token.
    #expect(try file(tokens: ["a", "b", "c"]).tokenizer().beginToken == nil)
  }

  @Test func userDefinedTokens() throws {
    let pieces: [(String, Float, Int32)] = [
      ("\n", 0, 4), ("\n\n", 0, 4), ("  ", 0, 4), ("a", 0, 1), ("▁", 0, 1), ("▁▁", 0, 4),
      ("▁a", 0, 1),
    ]
    let tokenizer = try TestVocabulary(pieces: pieces).tokenizer()
    let first: Int32 = 259
    #expect(try tokenizer.encode("\n\n\n") == [first + 1, first])
    // Behind a user-defined token a text begins again.
    #expect(try tokenizer.encode("a\na") == [first + 6, first, first + 6])
    #expect(try tokenizer.encode("a  a").contains(first + 2))
    #expect(tokenizer.decode([first + 5], skipControl: false, continues: true) == [32, 32])
  }

  @Test func hugeTokens() throws {
    // Too long to come out of text, however the vocabulary leads there.
    let lengths = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 1 << 20]
    let pieces = lengths.map { (String(repeating: "a", count: $0), Float($0), Int32(1)) }
    let tokenizer = try TestVocabulary(pieces: pieces).tokenizer()
    let text = [UInt8](repeating: 97, count: 1 << 20)
    var ids: [Int32] = []
    let time = try processorTime {
      ids = try tokenizer.encode(text, parseSpecial: false, addBegin: false, continues: true)
    }
    #expect(tokenizer.decode(ids, skipControl: false, continues: true) == text)
    #expect(ids == [Int32](repeating: 259 + 10, count: 1024))
    #if !DEBUG
      #expect(time < 4)
    #else
      _ = time
    #endif
  }

  @Test func nonsenseFilesDoNoHarm() throws {
    var random = TestRandom(seed: 22)
    let letters = ["a", "b", "▁", " ", "é", "€", "🦙", "<", "\u{0}", "", "<0x41>", "\n"]
    func text() -> String {
      (0..<Int.random(in: 0...5, using: &random)).map { _ in letters.randomElement(using: &random)!
      }
      .joined()
    }
    for _ in 0..<500 {
      let count = Int.random(in: 1...40, using: &random)
      let tokenizer: Tokenizer
      do {
        tokenizer = try file(
          tokens: (0..<count).map { _ in text() },
          types: (0..<count).map { _ in
            Int32([-1, 0, 1, 2, 3, 4, 5, 8].randomElement(using: &random)!)
          },
          scores: (0..<count).map { _ in Float.random(in: -3...3, using: &random).rounded() }
        ).tokenizer()
      } catch { continue }
      for _ in 0..<5 {
        let input = (0..<20).map { _ in text() }.joined() + String(repeating: "ab", count: 40)
        let ids = try tokenizer.encode(input, parseSpecial: true)
        #expect(ids.allSatisfy { $0 >= 0 && $0 < count })
        _ = tokenizer.decode(ids, skipControl: false)
      }
    }
  }
}
