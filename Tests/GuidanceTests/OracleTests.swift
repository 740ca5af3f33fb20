import Guidance
import Tensor
import TestSupport
import Testing
import Transformer

/// The cheap and exact checks of the algorithms' section "Oracles", by their numbers there.
@Suite struct OracleTests {
  let models: Models
  let session: Session

  init() throws {
    models = try Models()
    session = try GuidanceTests.session(models.llama)
  }

  private func tilt(_ weight: Double) -> Part {
    Part(.implicit(models.implicit), weight: weight, role: .tilt)
  }

  @Test func guidanceChangesTheText() throws {
    let base = try session.run(nil, options())
    let tilted = try session.run(guidance([tilt(3)]), options())
    #expect(base.tokens.count == 12)
    #expect(base.tokens != tilted.tokens)
  }

  @Test("1: a weight of zero gives the base's tokens")
  func weightZero() throws {
    let base = try session.run(nil, options())
    #expect(try session.run(guidance([tilt(0)]), options()).tokens == base.tokens)
  }

  @Test("2: base = untuned and weight 1 gives the tuned distribution")
  func tunedDistribution() throws {
    let request = options { $0.topLogProbabilities = 8 }
    try session.begin(prompt: prompt, options: request, guidance: guidance([tilt(1)]))
    _ = try session.next()
    let guided = session.search!.alternatives
    // The tuned model by itself: a sequence with the adapter.
    let trunk = try models.llama.trunk(for: "a test")
    let tokens = session.search!.promptTokens
    let own = try GuidanceTests.session(models.llama)
    let sequence = try EvaluatedSequence(session: own, adapter: models.adapter)
    try tokens.withUnsafeBufferPointer { try sequence.evaluate($0) }
    let logits = try sequence.logits()
    let total = Kernels.current.table.pointee.log_sum_exp(logits.baseAddress, logits.count)
    #expect(trunk.outputSize == logits.count)
    for index in 0..<guided.count {
      let expected = Double(logits[Int(guided.tokens[index])]) - total
      #expect(abs(Double(guided.logProbabilities[index]) - expected) < 1e-5)
    }
  }

  @Test("3: tuned = untuned gives the base")
  func equalGuides() throws {
    let base = try session.run(nil, options())
    let same = ImplicitValue(
      tuned: models.guide(models.untuned), untuned: models.guide(models.untuned),
      lengthAverage: false)
    let alike = ImplicitValue(
      tuned: models.guide(models.llama, template: "{prompt}"), untuned: nil, lengthAverage: false)
    for value in [same, alike] {
      let part = Part(.implicit(value), weight: 2, role: .tilt)
      #expect(try session.run(guidance([part]), options()).tokens == base.tokens)
    }
  }

  @Test("4: one row with any scorer is base sampling")
  func oneRow() throws {
    let base = try session.run(nil, options())
    for chunk in [0, 1, 3] {
      let guided = try session.run(
        guidance(
          [Part(.explicit(models.explicit(models.vocabularyHead)), weight: 1, role: .score)],
          chunk: chunk), options())
      #expect(guided.tokens == base.tokens)
      #expect(guided.best.score != 0)
    }
  }

  @Test("5: W = 1, K = N, L ≥ max is best of N: the argmax over N independent rows")
  func bestOfN() throws {
    let score = Part(.explicit(models.explicit(models.adaptedHead)), weight: 1, role: .score)
    let best = try session.run(guidance([score], successors: 6, chunk: 0), options())
    let long = try session.run(guidance([score], successors: 6, chunk: 50), options())
    #expect(best.tokens == long.tokens)
    // All six rows, kept side by side, are the independent rows.
    let all = try session.run(guidance([score], width: 6, chunk: 0), options())
    #expect(all.candidates.count == 6)
    #expect(Set(all.candidates.map(\.tokens)).count > 1)
    let winner = all.candidates.max { $0.score < $1.score }!
    #expect(best.tokens == winner.tokens)
    #expect(best.best.score == winner.score)
    #expect(all.candidates.map(\.score) == all.candidates.map(\.score).sorted(by: >))
  }

  @Test("6: a constant scorer keeps row 0")
  func constantScorer() throws {
    let base = try session.run(nil, options())
    let kept = try session.run(
      guidance([scorer { _, _ in 3 }], successors: 4, chunk: 3), options())
    #expect(kept.tokens == base.tokens)
  }

  @Test("7: shifting the value by a constant of the prompt changes nothing")
  func shiftedScorer() throws {
    let value: (String) -> Double = { Double($0.utf8.reduce(0) { $0 &* 31 &+ Int($1) } % 1000) }
    let plain = try session.run(
      guidance([scorer { text, _ in value(text) }], width: 2, successors: 3, chunk: 2), options())
    let shifted = try session.run(
      guidance([scorer { text, _ in value(text) + 4096 }], width: 2, successors: 3, chunk: 2),
      options())
    #expect(plain.candidates.map(\.tokens) == shifted.candidates.map(\.tokens))
  }

  @Test(
    "8: an incremental score is the score of the whole text read again",
    arguments: ["vocabulary", "scalar", "adapted"])
  func incrementalScore(kind: String) throws {
    let head =
      kind == "scalar"
      ? models.scalarHead : kind == "adapted" ? models.adaptedHead : models.vocabularyHead
    let score = Part(.explicit(models.explicit(head)), weight: 1, role: .score)
    let guided = try session.run(
      guidance([score], width: 2, successors: 2, chunk: 3), options())
    let trunk = try models.llama.trunk(for: "a test")
    for candidate in guided.candidates {
      let value = try Self.value(
        of: candidate.tokens, prompt: session.search!.promptTokens, head, trunk)
      #expect(abs(candidate.score - value) < 1e-4)
    }
  }

  /// V of a response, computed from nothing by one pass of an engine of its own.
  static func value(of tokens: [Int32], prompt: [Int32], _ head: ValueHead, _ trunk: Trunk) throws
    -> Double
  {
    let engine = try Engine(
      trunk: trunk, team: ThreadTeam(threadCount: 1), contextLength: 256, pageLimit: 64)
    try engine.reserve(logitRows: 1, results: 1)
    let sequence = engine.makeSequence(adapter: head.adapter)
    let read = head.kind == .vocabulary ? Array(tokens.dropLast()) : tokens
    for token in prompt + read { try engine.append(token, to: sequence) }
    let result = engine.wantHeadValue(
      engine.register(head), token: head.kind == .vocabulary ? tokens.last! : 0)
    try engine.run(cancel: CancelFlag())
    return engine.result(result)
  }

  @Test("10: the Q of the chosen tokens is the chunk's end score")
  func valueHeadScore() throws {
    let value = models.explicit(models.vocabularyHead)
    let both = Part(.explicit(value), weight: 1, role: [.tilt, .score])
    let guided = try session.run(
      guidance([both], successors: 3, chunk: 4), options { $0.keepsAttribution = true })
    #expect(Float(guided.best.score) == guided.best.guideValues.last)
    let alone = Part(.explicit(value), weight: 1, role: .score)
    let scored = try session.run(guidance([alone], successors: 1), options())
    #expect(scored.best.score != 0)
  }

  @Test("11: a CBSi score is the sum of the reported log-ratios", arguments: [true, false])
  func implicitScore(tilts: Bool) throws {
    let part = Part(
      .implicit(models.implicit), weight: 1, role: tilts ? [.tilt, .score] : .score)
    let guided = try session.run(
      guidance([part], width: 2, successors: 2, chunk: 5),
      options { $0.keepsAttribution = true })
    for candidate in guided.candidates {
      #expect(candidate.guideValues.count == candidate.tokens.count)
      let sum = candidate.guideValues.reduce(0) { $0 + Double($1) }
      #expect(abs(candidate.score - sum) < 1e-4)
      #expect(candidate.baseLogProbabilities.allSatisfy { $0 < 0 })
    }
  }

  @Test("12: weights add up; opposite weights on one guide give the base")
  func weightsAddUp() throws {
    let base = try session.run(nil, options())
    #expect(try session.run(guidance([tilt(2), tilt(-2)]), options()).tokens == base.tokens)
    let twice = try session.run(guidance([tilt(0.75), tilt(0.5)]), options())
    #expect(try session.run(guidance([tilt(1.25)]), options()).tokens == twice.tokens)
  }

  @Test("13: a row that ends by length never gets the scorer's end token")
  func lengthHasNoEnd() throws {
    let score = Part(.explicit(models.explicit(models.scalarHead)), weight: 1, role: .score)
    let guided = try session.run(guidance([score]), options())
    #expect(guided.best.finish == .length)
    let trunk = try models.llama.trunk(for: "a test")
    let prompt = session.search!.promptTokens
    let without = try Self.value(of: guided.tokens, prompt: prompt, models.scalarHead, trunk)
    let end = models.llama.tokenizer.endToken!
    let with = try Self.value(of: guided.tokens + [end], prompt: prompt, models.scalarHead, trunk)
    #expect(abs(guided.best.score - without) < 1e-4)
    #expect(abs(guided.best.score - with) > 1e-4)
    // … and one that ends by a stop string does.
    let stop = models.llama.tokenizer.decode(guided.tokens[4...5], skipControl: true)
    let stopped = try session.run(guidance([score]), options { $0.stopStrings = [stop] })
    #expect(stopped.best.finish == .stop)
    let value = try Self.value(
      of: stopped.tokens + [end], prompt: prompt, models.scalarHead, trunk)
    #expect(abs(stopped.best.score - value) < 1e-4)
  }

  @Test("15: padded vocabularies work and never emit a padding id")
  func paddedVocabulary() throws {
    let qwen = LanguageModel(try Model(path: Fixtures.path("tiny-qwen2.gguf")))
    let own = try GuidanceTests.session(qwen)
    let run = try own.run(
      nil,
      options(100) {
        $0.sampling.temperature = 50
        $0.sampling.topK = nil
      })
    #expect(run.tokens.allSatisfy { $0 < 320 })
    let part = Part(
      .implicit(
        ImplicitValue(
          tuned: models.guide(qwen), untuned: models.guide(qwen, template: "Bad: {prompt}"),
          lengthAverage: false)), weight: 1, role: .tilt)
    let guided = try session.run(
      guidance([part]), options(60) { $0.sampling.temperature = 50 })
    #expect(guided.tokens.allSatisfy { $0 < 320 })
  }

  @Test("16: cancelling inside a chunk leaves the request and the session usable")
  func cancelling() throws {
    let parts = [
      Part(.implicit(models.implicit), weight: 1, role: .tilt),
      Part(.explicit(models.explicit(models.adaptedHead)), weight: 1, role: .score),
    ]
    let guide = try guidance(parts, width: 2, successors: 2, chunk: 3)
    let whole = try session.run(guide, options())
    try session.begin(prompt: prompt, options: options(), guidance: guide)
    var refusals = 0
    session.cancel.raise()
    do { _ = try session.next() } catch { refusals += error.kind == .cancelled ? 1 : 0 }
    _ = try session.next()
    session.cancel.raise()
    do { _ = try session.next() } catch { refusals += error.kind == .cancelled ? 1 : 0 }
    #expect(refusals == 2)
    while try session.next() != nil {}
    #expect(session.search!.candidate(0)!.tokens == whole.tokens)
    #expect(try session.run(nil, options()).tokens.count == 12)
  }
}
