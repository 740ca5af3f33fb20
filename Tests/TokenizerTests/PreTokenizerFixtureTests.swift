import Tensor
import TestSupport
import Testing
import Tokenizer

/// Words against regular expressions (`make_pretokenizers.py`).
@Suite struct PreTokenizerFixtureTests {
  private struct Fixture: Decodable {
    var texts: [String]
    /// By name: of each text the lengths of its words.
    var rules: [String: [[Int]]]
  }

  private static func lengths(_ preTokenizer: PreTokenizer, _ text: [UInt8]) -> [Int] {
    var lengths: [Int] = []
    text.withUnsafeBytes { bytes in
      var end = 0
      preTokenizer.split(bytes) { word in
        #expect(word.lowerBound == end && !word.isEmpty)
        end = word.upperBound
        lengths.append(word.count)
      }
      #expect(end == text.count)
    }
    return lengths
  }

  /// The rules called `name`; with `!`, those of the models' own files.
  private static func rules(_ name: String) -> PreTokenizer? {
    name.hasSuffix("!")
      ? PreTokenizer(named: String(name.dropLast()))?.withExactCase : PreTokenizer(named: name)
  }

  @Test func exactCase() throws {
    for name in ["gpt-2", "qwen2", "llama-bpe", "granite-embed-multi-97m"] {
      #expect(PreTokenizer(named: name)?.withExactCase == nil)
    }
    for (pre, hasCase) in [("tekken", true), ("gpt-4o", true), ("qwen2", false)] {
      var file = TestVocabulary(pre: pre, merged: [])
      file.add("tokenizer.ivg.exact_case", bool: true)
      if hasCase {
        _ = try file.tokenizer()
      } else {
        #expect(throws: IVGError.self) { try file.tokenizer() }
      }
    }
  }

  @Test func words() throws {
    let fixture = try JSONFixture.read("pretokenizers.json", as: Fixture.self)
    #expect(fixture.texts.count >= 400 && fixture.rules.count >= 22)
    for (name, expected) in fixture.rules {
      let preTokenizer = try #require(Self.rules(name))
      for (text, lengths) in zip(fixture.texts, expected) {
        let found = Self.lengths(preTokenizer, Array(text.utf8))
        #expect(found == lengths, "\(name): \(text.debugDescription)")
      }
    }
  }

  @Test func aliases() throws {
    // One of each: named differently, cut alike.
    let fixture = try JSONFixture.read("pretokenizers.json", as: Fixture.self)
    let aliases = [
      "olmo": "gpt-2", "mpt": "gpt-2", "phi-2": "gpt-2", "jina-v2-code": "gpt-2",
      "starcoder": "smollm", "refact": "smollm", "command-r": "smollm", "exaone": "smollm",
      "dbrx": "llama-bpe", "glm4": "llama-bpe", "stablelm2": "qwen2", "llada-moe": "bailingmoe",
      "llama4": "gpt-4o", "gpt3-finnish": "bloom", "poro-chat": "bloom",
      "hunyuan-dense": "deepseek-v3",
    ]
    for (alias, name) in aliases {
      let one = try #require(PreTokenizer(named: alias))
      let other = try #require(PreTokenizer(named: name))
      for text in fixture.texts {
        #expect(Self.lengths(one, Array(text.utf8)) == Self.lengths(other, Array(text.utf8)))
      }
    }
    for name in ["", "GPT-2", "kimi-k2", "superbpe", "gpt-2 "] {
      #expect(PreTokenizer(named: name) == nil)
    }
  }

  @Test func invalidBytesAndLongTexts() throws {
    let fixture = try JSONFixture.read("pretokenizers.json", as: Fixture.self)
    var random = TestRandom(seed: 31)
    let odd: [UInt8] = Array(" aA1'./\n~".utf8) + [0x80, 0xC3, 0xA9, 0xE2, 0xED, 0xA0, 0xF4, 0xFF]
    for name in fixture.rules.keys {
      let preTokenizer = try #require(Self.rules(name))
      for _ in 0..<200 {
        let text = (0..<40).map { _ in odd.randomElement(using: &random)! }
        _ = Self.lengths(preTokenizer, text)
      }
      for unit in [" ", "a", "A", "é", "'", "\u{301}", "\n", "1", "~", "é ", "\u{80}A"] {
        let text = Array(String(repeating: unit, count: (1 << 19) / unit.utf8.count).utf8)
        var count = 0
        let time = processorTime {
          text.withUnsafeBytes { bytes in preTokenizer.split(bytes) { _ in count += 1 } }
        }
        #expect(count > 0)
        // The bound is for optimised builds.
        #if !DEBUG
          #expect(time < 4, "\(name): \(unit.debugDescription)")
        #else
          _ = time
        #endif
      }
    }
  }
}
