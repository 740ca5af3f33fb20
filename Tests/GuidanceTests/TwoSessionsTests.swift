import Glibc
import Guidance
import Synchronization
import Tensor
import TestSupport
import Testing
import Transformer

/// Sessions that share a model, adapters, heads and a guidance, in several threads at once. The bytes are
/// compared in any build; what the threads share is looked at by the thread sanitizer.
@Suite struct TwoSessionsTests {
  let models: Models

  init() throws { models = try Models() }

  /// Plain, tilted with an adapter, and searched with everything there is.
  private func guidances() throws -> [Guidance?] {
    let implicit = Part(.implicit(models.implicit), weight: 1, role: [.tilt, .score])
    let heads = [models.vocabularyHead, models.scalarHead, models.adaptedHead].map {
      Part(.explicit(models.explicit($0)), weight: 0.5, role: .score)
    }
    return [
      nil, try guidance([implicit]),
      try guidance([implicit] + heads, width: 2, successors: 2, chunk: 3),
    ]
  }

  @Test(arguments: [1, 2]) func atOnceAsAlone(threadsEach: Int) throws {
    let guidances = try guidances()
    let requests = guidances.indices.flatMap { guide in (0..<3).map { (guide, UInt64($0)) } }
    let alone = try session(models.llama)
    let expected = try requests.map { guide, seed in
      try alone.run(guidances[guide], options(16, seed: seed)).texts
    }
    let failures = Mutex<[String]>([])
    onThreads(3) { thread in
      do {
        let session = try session(models.llama, threads: threadsEach)
        for turn in requests.indices {
          // Each thread begins elsewhere, so that different requests run beside each other.
          let index = (turn + thread * 2) % requests.count
          let (guide, seed) = requests[index]
          let texts = try session.run(guidances[guide], options(16, seed: seed)).texts
          if texts != expected[index] {
            failures.withLock { $0.append("thread \(thread), request \(index)") }
          }
        }
      } catch { failures.withLock { $0.append("thread \(thread): \(error)") } }
    }
    #expect(failures.withLock { $0 } == [])
  }

  /// One thread generates, another cancels it again and again.
  @Test func cancelledFromAnotherThread() throws {
    let guide = try guidances()[2]
    let session = try session(models.llama, threads: 2)
    let request = options(24)
    let expected = try session.run(guide, request).texts
    let isDone = Atomic<Bool>(false)
    let cancel = session.cancel
    let found = Mutex<[[String]]>([])
    onThreads(2) { thread in
      if thread == 1 {
        for _ in 0..<200 where !isDone.load(ordering: .relaxed) {
          cancel.raise()
          usleep(500)
        }
        return
      }
      for _ in 0..<5 {
        try? session.begin(prompt: prompt, options: request, guidance: guide)
        var hasEnded = false
        while !hasEnded {
          do throws(IVGError) { hasEnded = try session.next() == nil } catch {
            if error.kind != .cancelled { hasEnded = true }
          }
        }
        let search = session.search!
        let texts = (0..<search.candidateCount).map {
          String(decoding: search.candidate($0)!.text.dropLast(), as: UTF8.self)
        }
        found.withLock { $0.append(texts) }
      }
      isDone.store(true, ordering: .relaxed)
    }
    #expect(found.withLock { $0 } == Array(repeating: expected, count: 5))
  }
}

/// Runs `body` on that many threads at once and waits for all.
func onThreads(_ count: Int, _ body: (Int) -> Void) {
  withoutActuallyEscaping(body) { body in
    final class Work {
      let index: Int
      let body: (Int) -> Void
      init(_ index: Int, _ body: @escaping (Int) -> Void) {
        (self.index, self.body) = (index, body)
      }
    }
    let threads = (0..<count).map { index in
      var thread = pthread_t()
      let work = Unmanaged.passRetained(Work(index, body))
      let status = pthread_create(
        &thread, nil,
        { argument in
          let work = Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
          work.body(work.index)
          return nil
        }, work.toOpaque())
      precondition(status == 0, "no thread")
      return thread
    }
    for thread in threads { pthread_join(thread, nil) }
  }
}
