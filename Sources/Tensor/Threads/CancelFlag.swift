import Synchronization

/// A request to stop, raised by any thread or a signal handler and looked at where work can stop.
package final class CancelFlag: Sendable {
  private let raised = Atomic<Bool>(false)

  package init() {}

  /// One atomic store.
  package func raise() { raised.store(true, ordering: .releasing) }

  package var isRaised: Bool { raised.load(ordering: .acquiring) }

  /// Takes the request: true if there was one, and it is gone.
  package func take() -> Bool { raised.exchange(false, ordering: .acquiringAndReleasing) }
}
