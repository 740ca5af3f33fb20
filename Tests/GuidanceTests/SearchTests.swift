import Guidance
import Tensor
import TestSupport
import Testing
import Transformer

@Suite struct SearchTests {
  let models: Models
  let session: Session

  init() throws {
    models = try Models()
    session = try GuidanceTests.session(models.llama)
  }

  /// Oracle 19: a trace computed by hand, with W = 2, K = 2, L = 2 and six tokens.
  ///
  /// The logits processor leaves each row one token: a, b, c, d for rows 0 … 3. The scorer counts
  /// 1 for every c, 2 for every b, −1 for every d.
  ///
  ///     chunk 1: rows aa, bb, cc, dd score 0, 4, 2, −2; kept: bb (4), cc (2)
  ///     chunk 2: rows 0, 1 continue bb, rows 2, 3 continue cc:
  ///              bbaa 4, bbbb 8, cccc 4, ccdd 0; kept: bbbb (8), bbaa (4, lower row than cccc)
  ///     chunk 3: bbbbaa 8, bbbbbb 12, bbaacc 6, bbaadd 2; kept: bbbbbb (12), bbbbaa (8)
  @Test func traceByHand() throws {
    let tokenizer = models.llama.tokenizer
    let letters = try ["a", "b", "c", "d"].map { letter in
      try encode(tokenizer, letter)[0]
    }
    let guide = try guidance(
      [
        scorer { text, _ in
          text.reduce(0) { $0 + ($1 == "c" ? 1 : $1 == "b" ? 2 : $1 == "d" ? -1 : 0) }
        }
      ], width: 2, successors: 2, chunk: 2)
    let request = options(6) {
      $0.processor = { row, _, logits in
        for index in logits.indices { logits[index] = -.infinity }
        logits[Int(letters[row])] = 0
        return true
      }
    }
    let run = try session.run(guide, request)
    #expect(run.texts == ["bbbbbb", "bbbbaa"])
    #expect(run.candidates.map(\.score) == [12, 8])
    #expect(run.steps.map(\.value) == [4, 8, 12])
    #expect(run.steps.map(\.kind) == [.chunk, .chunk, .chunk])
    #expect(run.candidates.map(\.finish) == [.length, .length])
  }

  /// The search written down plainly: every row from nothing at every token, every score of whole rows.
  private func reference(
    width: Int, successors: Int, chunk: Int, options: GenerateOptions, weight: Double
  ) throws -> [(tokens: [Int32], score: Double)] {
    let trunk = try models.llama.trunk(for: "a test")
    let prompt = session.search!.promptTokens
    let vocabulary = models.llama.tokenizer.vocabularySize
    func logits(_ tokens: [Int32], _ adapter: Adapter?) throws -> [Float] {
      let engine = try Engine(
        trunk: trunk, team: ThreadTeam(threadCount: 1), contextLength: 256, pageLimit: 64)
      try engine.reserve(logitRows: 1, results: 0)
      let sequence = engine.makeSequence(adapter: adapter)
      for token in tokens { try engine.append(token, to: sequence) }
      let row = engine.wantLogits()
      try engine.run(cancel: CancelFlag())
      return Array(UnsafeBufferPointer(start: engine.logits(row: row), count: vocabulary))
    }
    let sampler = Sampler(
      options: options.sampling, seed: options.seed, vocabularySize: vocabulary)
    var rows = [[Int32]](repeating: [], count: width * successors)
    var scores = [Double](repeating: 0, count: rows.count)
    var kept: [Int] = []
    for position in 0..<options.maximumTokens {
      for row in rows.indices {
        var mixed = try logits(prompt + rows[row], nil)
        let tuned = try logits(prompt + rows[row], models.adapter)
        let untuned = try logits(prompt + rows[row], nil)
        for index in mixed.indices {
          mixed[index] += Float(weight) * (tuned[index] - untuned[index])
        }
        rows[row].append(
          sampler.draw(mixed, count: vocabulary, row: row, position: position)!)
      }
      if (position + 1) % chunk == 0 || position + 1 == options.maximumTokens {
        for row in rows.indices {
          scores[row] = try OracleTests.value(
            of: rows[row], prompt: prompt, models.adaptedHead, trunk)
        }
        kept = Array(
          rows.indices.sorted { scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1 }
            .prefix(width))
        if position + 1 < options.maximumTokens {
          rows = kept.flatMap { [[Int32]](repeating: rows[$0], count: successors) }
        }
      }
    }
    return kept.map { (rows[$0], scores[$0]) }
  }

  @Test("IVG equals the search written down plainly", arguments: [(2, 2, 3), (1, 4, 2), (3, 2, 5)])
  func matchesReference(width: Int, successors: Int, chunk: Int) throws {
    let parts = [
      Part(.implicit(models.implicit), weight: 1.5, role: .tilt),
      Part(.explicit(models.explicit(models.adaptedHead)), weight: 1, role: .score),
    ]
    let request = options(11, seed: 99)
    let run = try session.run(
      guidance(parts, width: width, successors: successors, chunk: chunk), request)
    let expected = try reference(
      width: width, successors: successors, chunk: chunk, options: request, weight: 1.5)
    #expect(run.candidates.map(\.tokens) == expected.map(\.tokens))
    for (candidate, expected) in zip(run.candidates, expected) {
      #expect(abs(candidate.score - expected.score) < 1e-4)
    }
  }

  @Test("Thread counts and batches give the same bytes", arguments: [1, 2, 3])
  func threads(count: Int) throws {
    let parts = [
      Part(.implicit(models.implicit), weight: 1, role: [.tilt, .score]),
      Part(.explicit(models.explicit(models.vocabularyHead)), weight: 0.5, role: .score),
    ]
    let guide = try guidance(parts, width: 2, successors: 3, chunk: 4)
    let one = try session.run(guide, options(20))
    let many = try GuidanceTests.session(models.llama, threads: count).run(guide, options(20))
    #expect(one.candidates.map(\.tokens) == many.candidates.map(\.tokens))
    #expect(one.candidates.map(\.score) == many.candidates.map(\.score))
  }

  @Test("A finished row keeps one slot in pool and K in tile", arguments: [false, true])
  func finishedRows(tiles: Bool) throws {
    let tokenizer = models.llama.tokenizer
    let letters = try ["a", "b", "!"].map { letter in
      try encode(tokenizer, letter)[0]
    }
    var seen: [Int] = []
    let part = Part(
      .scorer(
        HostScorer(
          score: { _, texts in
            seen.append(texts.count)
            return texts.map { $0.isFinished ? 100 : Double($0.bytes.count) }
          }, finalizer: {})), weight: 1, role: .score)
    // Row 0 stops at once; the others go on.
    let request = options(8) {
      $0.stopStrings = [Array("!".utf8)]
      $0.processor = { row, _, logits in
        for index in logits.indices { logits[index] = -.infinity }
        logits[Int(letters[row == 0 ? 2 : 1])] = 0
        return true
      }
    }
    let guide = try guidance([part], width: 2, successors: 2, chunk: 2) {
      $0.finishedRows = tiles ? .tile : .pool
    }
    let run = try session.run(guide, request)
    #expect(run.best.finish == .stop)
    #expect(run.texts[0] == "")
    if tiles {
      // Two copies of the finished row fill the beam after the second chunk.
      #expect(run.candidates.map(\.finish) == [.stop, .stop])
      #expect(run.steps.count == 2)
    } else {
      #expect(run.candidates[1].finish == .length)
      #expect(run.candidates[1].tokens.count == 8)
    }
  }

  @Test func dedupeKeepsOneOfEqualTexts() throws {
    let part = scorer { text, _ in Double(text.utf8.count) }
    let request = options(4) { $0.sampling.temperature = 0 }
    let plain = try session.run(guidance([part], width: 3, successors: 2, chunk: 2), request)
    #expect(plain.candidates.count == 3)
    #expect(Set(plain.texts).count == 1)
    let deduped = try session.run(
      guidance([part], width: 3, successors: 2, chunk: 2) { $0.dedupe = true }, request)
    #expect(deduped.candidates.count == 1)
    #expect(deduped.texts[0] == plain.texts[0])
  }

  @Test func everyCornerRuns() throws {
    let implicit = Part.Value.implicit(models.implicit)
    for head in [models.vocabularyHead, models.scalarHead, models.adaptedHead] {
      let explicit = Part.Value.explicit(models.explicit(head))
      for roles: (Role?, Role?) in [
        (.tilt, nil), (nil, .tilt), (.score, nil), (nil, .score), ([.tilt, .score], nil),
        (nil, [.tilt, .score]), (.score, .tilt), (.tilt, .score),
      ] {
        var parts: [Part] = []
        if let role = roles.0 { parts.append(Part(implicit, weight: 1, role: role)) }
        if let role = roles.1 { parts.append(Part(explicit, weight: 1, role: role)) }
        for (width, successors, chunk) in [(1, 1, 0), (1, 4, 0), (2, 2, 3)] {
          for candidates: SearchOptions.Candidates in [.tilted, .base] {
            let guide = try guidance(parts, width: width, successors: successors, chunk: chunk) {
              $0.candidates = candidates
            }
            let first = try session.run(guide, options(7) { $0.keepsAttribution = true })
            #expect(first.candidates.count == width)
            #expect(first.tokens.count == 7)
            #expect(first.candidates.allSatisfy { $0.score.isFinite })
            let again = try session.run(guide, options(7))
            #expect(again.candidates.map(\.tokens) == first.candidates.map(\.tokens))
          }
        }
      }
    }
  }

  @Test("A scorer of another vocabulary follows the text")
  func otherVocabulary() throws {
    let value = ImplicitValue(
      tuned: models.guide(models.other), untuned: models.guide(models.other, template: "No."),
      lengthAverage: false)
    let score = Part(.implicit(value), weight: 1, role: .score)
    let run = try session.run(guidance([score], width: 2, successors: 2, chunk: 3), options())
    let own = try GuidanceTests.session(models.llama)
    for candidate in run.candidates {
      let scores = try candidate.text.dropLast().withUnsafeBytes { bytes in
        try own.score(guidance([score]), prompt: prompt, texts: [bytes], ended: false)
      }
      // The stream may end within a code point, which the text shows as U+FFFD.
      if String(validating: candidate.text.dropLast(), as: UTF8.self)?.contains("\u{FFFD}") == false
      {
        #expect(abs(scores[0] - candidate.score) < 1e-4)
      }
    }
    #expect(throws: IVGError.self) {
      try session.run(
        guidance([Part(.implicit(value), weight: 1, role: .tilt)]), options())
    }
  }

  /// What a chunk search with a scored pair costs, W = 2, K = 2, L = 3, nine tokens: nothing is read twice, and what
  /// successors share is read once, for the base and for the tuned model alike.
  @Test func nothingIsReadTwice() throws {
    let timed = try Session(
      base: models.llama,
      options: SessionOptions(threadCount: 1, contextLength: 0, budget: 0, isTimed: true))
    let part = Part(.implicit(models.implicit), weight: 1, role: .score)
    let run = try timed.run(guidance([part], width: 2, successors: 2, chunk: 3), options(9))
    #expect(run.tokens.count == 9)
    let prompt = timed.search!.promptTokens.count
    // Of a chunk's three tokens two are read for each of four rows before it is scored, the third only for
    // the two that are kept, unless it is the last.
    let chunks = 3 * (4 * 2) + 2 * 2
    #expect(timed.clock!.rows == 2 * (prompt + chunks))
  }

  /// A track whose head tilts while its pair only scores: read at every token, though nobody wants its logits.
  @Test(arguments: [[1, 16, 0], [4, 4, 2], [2, 1, 3]])
  func tiltedByAHeadAndScored(_ shape: [Int]) throws {
    for head in [models.vocabularyHead, models.scalarHead] {
      let parts = [
        Part(.explicit(models.explicit(head)), weight: 1, role: .tilt),
        Part(.implicit(models.implicit), weight: 1, role: .score),
      ]
      let guide = try guidance(parts, width: shape[0], successors: shape[1], chunk: shape[2])
      let run = try GuidanceTests.session(models.llama).run(
        guide, options(8) { $0.template = Array("A review: {prompt}".utf8) })
      #expect(run.tokens.count == 8)
    }
  }

  @Test func scoresOfTextsEqualScoresOfRows() throws {
    for head in [models.vocabularyHead, models.scalarHead, models.adaptedHead] {
      let part = Part(.explicit(models.explicit(head)), weight: 1, role: .score)
      let texts = ["good", " bad film", "", "really?"].map { Array($0.utf8) }
      let scores = try session.score(
        guidance([part]), prompt: prompt,
        texts: texts.map { text in text.withUnsafeBytes { $0 } }, ended: false)
      let trunk = try models.llama.trunk(for: "a test")
      let tokenizer = models.llama.tokenizer
      let start = try encode(tokenizer, prompt)
      for (text, score) in zip(texts, scores) {
        let tokens = try encode(tokenizer, text)
        let expected =
          tokens.isEmpty ? 0 : try OracleTests.value(of: tokens, prompt: start, head, trunk)
        #expect(abs(score - expected) < 1e-4)
      }
    }
  }

  @Test func attributionKeepsHeadsApart() throws {
    let parts = [
      Part(.explicit(models.explicit(models.vocabularyHead)), weight: 1, role: .tilt),
      Part(.explicit(models.explicit(models.scalarHead)), weight: 1, role: .score),
    ]
    let run = try session.run(guidance(parts), options(6) { $0.keepsAttribution = true })
    for token in 0..<6 {
      #expect(run.best.guideValues[2 * token].isFinite)
      #expect(run.best.guideValues[2 * token + 1].isNaN)
    }
  }

  @Test func scoresThatAreNoNumbers() throws {
    for odd in [Double.nan, .infinity, -.infinity] {
      #expect(throws: IVGError.self) {
        try session.run(guidance([scorer { _, _ in odd }], successors: 2, chunk: 2), options())
      }
    }
    let off = Part(.explicit(models.explicit(models.scalarHead)), weight: 0, role: .score)
    let text = Array("fine".utf8)
    let scores = try text.withUnsafeBytes {
      try session.score(guidance([off]), prompt: prompt, texts: [$0], ended: true)
    }
    #expect(scores == [0])
  }

  @Test func oppositeWeightsOnOneHeadAreTheBase() throws {
    let value = models.explicit(models.vocabularyHead)
    let base = try session.run(nil, options())
    let both = try session.run(
      guidance([
        Part(.explicit(value), weight: 1.5, role: .tilt),
        Part(.explicit(value), weight: -1.5, role: .tilt),
      ]), options())
    #expect(both.tokens == base.tokens)
    #expect(both.best.logProbabilities == base.best.logProbabilities)
  }
}
