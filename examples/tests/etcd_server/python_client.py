"""The recipes of PyPI's `etcd3` against a server on loopback; any difference ends it with an error."""

import sys
import threading

import etcd3


def keys_and_values(client):
    assert client.get("nobody") == (None, None)
    client.put("k/a", "1")
    value, meta = client.get("k/a")
    assert (value, meta.key, meta.version) == (b"1", b"k/a", 1)
    assert meta.create_revision == meta.mod_revision
    before = client.put("k/a", "2", prev_kv=True).prev_kv
    assert before.value == b"1"
    for number in range(10):
        client.put(f"k/{number}", str(number))
    values = [value for value, _ in client.get_prefix("k/", sort_order="descend")]
    assert values == [b"2"] + [str(number).encode() for number in reversed(range(10))]
    assert len(list(client.get_range("k/2", "k/5"))) == 3
    assert client.replace("k/a", "2", "3") and not client.replace("k/a", "2", "4")
    assert client.put_if_not_exists("k/b", "1") and not client.put_if_not_exists("k/b", "2")
    assert client.delete("k/b") and not client.delete("k/b")
    assert client.delete_prefix("k/").deleted == 11


def transactions(client):
    compare = [client.transactions.version("t/a") == 0, client.transactions.value("t/b") != "x"]
    put = client.transactions.put("t/a", "1")
    get = client.transactions.get("t/a")
    # A value is compared only where one is.
    assert client.transaction(compare, [put, get], [get]) == (False, [[]])
    done, answers = client.transaction(compare[:1], [put, get], [get])
    assert done and answers[1][0][0] == b"1"
    greater = client.transactions.mod("t/a") > 1
    nested = client.transactions.txn([greater], [client.transactions.delete("t/a")], [])
    done, _ = client.transaction([client.transactions.create("t/a") > 0], [nested], [])
    assert done and client.get("t/a") == (None, None)


def leases(client):
    lease = client.lease(60)
    client.put("l/a", "1", lease=lease)
    assert lease.granted_ttl == 60 and lease.keys == [b"l/a"]
    assert [answer.TTL for answer in lease.refresh()] == [60]
    assert 0 < lease.remaining_ttl <= 60
    lease.revoke()
    assert client.get("l/a") == (None, None)


def watches(client):
    events, cancel = client.watch_prefix("w/")
    for key, value in [("w/a", "1"), ("w/b", "1"), ("w/a", "2")]:
        client.put(key, value)
    client.delete("w/b")
    seen = [next(events) for _ in range(4)]
    cancel()
    kinds = [type(event).__name__ for event in seen]
    assert kinds == ["PutEvent"] * 3 + ["DeleteEvent"], kinds
    assert [event.key for event in seen] == [b"w/a", b"w/b", b"w/a", b"w/b"]

    again, cancel = client.watch("w/a", start_revision=seen[0].mod_revision, prev_kv=True)
    first, second = next(again), next(again)
    cancel()
    assert (first.value, second.value, second.prev_value) == (b"1", b"2", b"1")

    client.compact(seen[3].mod_revision)
    too_old, cancel = client.watch("w/a", start_revision=seen[0].mod_revision)
    try:
        next(too_old)
        raise AssertionError("a watcher is told what was compacted")
    except etcd3.exceptions.RevisionCompactedError as error:
        assert error.compacted_revision == seen[3].mod_revision
    cancel()


def locks(client, port):
    counted = {"now": 0, "most": 0, "all": 0}

    def work():
        own = etcd3.client(port=port)
        for _ in range(5):
            with own.lock("lock", ttl=60):
                counted["now"] += 1
                counted["most"] = max(counted["most"], counted["now"])
                counted["all"] += 1
                counted["now"] -= 1
        own.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counted == {"now": 0, "most": 1, "all": 20}, counted
    held = client.lock("held", ttl=60)
    assert held.acquire() and held.is_acquired()
    assert not client.lock("held", ttl=60).acquire(timeout=0)
    assert held.release()


def cluster(client):
    status = client.status()
    assert status.version.startswith("3.") and status.leader.name
    assert len(list(client.members)) == 1
    assert list(client.list_alarms()) == []
    client.defragment()
    assert client.hash() != 0


def main(port):
    client = etcd3.client(port=port)
    keys_and_values(client)
    transactions(client)
    leases(client)
    watches(client)
    locks(client, port)
    cluster(client)
    print("all recipes hold")


main(int(sys.argv[1]))
