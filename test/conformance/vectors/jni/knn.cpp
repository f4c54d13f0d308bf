// The native side of the k-NN plugin's FaissService and JNICommons, for tests: the plugin's own library comes with the distribution only.
//
// Written against the plugin's class files (`javap -p -s`) and the headers of Debian's libfaiss. It knows graphs (HNSW) of floats in
// single precision, for l2 and inner product; filters by looking at each vector; no quantization, no bytes, no bits, no nested documents.
// What it does not know is not linked, so that the plugin fails by name where it asks for it.
#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <jni.h>

namespace {

using Floats = std::vector<float>;
using Hits = std::vector<std::pair<float, int64_t>>;

/** How a filter names the documents that pass: bits, or a list (`FilterIdsSelector`). */
constexpr jint FILTER_BITS = 0;

/** Runs `body`; what it throws becomes a RuntimeException, unless Java has one under way. */
template <typename Result>
Result guarded(JNIEnv* env, Result otherwise, const std::function<Result()>& body) {
    try {
        return body();
    } catch (const std::exception& error) {
        if (!env->ExceptionCheck()) env->ThrowNew(env->FindClass("java/lang/RuntimeException"), error.what());
        return otherwise;
    }
}

void guarded(JNIEnv* env, const std::function<void()>& body) {
    guarded<bool>(env, false, [&] {
        body();
        return true;
    });
}

jobject entryOf(JNIEnv* env, jobject map, const char* key) {
    if (map == nullptr) return nullptr;
    const jmethodID get = env->GetMethodID(env->FindClass("java/util/Map"), "get", "(Ljava/lang/Object;)Ljava/lang/Object;");
    const jstring name = env->NewStringUTF(key);
    const jobject value = env->CallObjectMethod(map, get, name);
    env->DeleteLocalRef(name);
    return value;
}

std::string textOf(JNIEnv* env, jobject value, const std::string& otherwise) {
    if (value == nullptr) return otherwise;
    const jmethodID toString = env->GetMethodID(env->FindClass("java/lang/Object"), "toString", "()Ljava/lang/String;");
    const auto text = static_cast<jstring>(env->CallObjectMethod(value, toString));
    const char* bytes = env->GetStringUTFChars(text, nullptr);
    std::string copy(bytes);
    env->ReleaseStringUTFChars(text, bytes);
    return copy;
}

int integerOf(JNIEnv* env, jobject value, int otherwise) {
    return value == nullptr ? otherwise : std::stoi(textOf(env, value, ""));
}

Floats floatsOf(JNIEnv* env, jfloatArray array) {
    Floats copy(env->GetArrayLength(array));
    env->GetFloatArrayRegion(array, 0, static_cast<jsize>(copy.size()), copy.data());
    return copy;
}

/** Writes through the plugin's buffered output. */
struct JavaWriter : faiss::IOWriter {
    JNIEnv* env;
    jobject out;
    jbyteArray buffer;
    jmethodID write;
    size_t capacity;

    JavaWriter(JNIEnv* env, jobject out) : env(env), out(out) {
        const jclass type = env->GetObjectClass(out);
        buffer = static_cast<jbyteArray>(env->GetObjectField(out, env->GetFieldID(type, "buffer", "[B")));
        write = env->GetMethodID(type, "writeBytes", "(I)V");
        capacity = env->GetArrayLength(buffer);
    }

    size_t operator()(const void* bytes, size_t size, size_t count) override {
        const size_t total = size * count;
        for (size_t done = 0; done < total;) {
            const auto piece = static_cast<jint>(std::min(total - done, capacity));
            env->SetByteArrayRegion(buffer, 0, piece, static_cast<const jbyte*>(bytes) + done);
            env->CallVoidMethod(out, write, piece);
            if (env->ExceptionCheck()) throw std::runtime_error("the output failed");
            done += piece;
        }
        return count;
    }
};

/** Reads through the plugin's buffered input. */
struct JavaReader : faiss::IOReader {
    JNIEnv* env;
    jobject in;
    jbyteArray buffer;
    jmethodID copy;

    JavaReader(JNIEnv* env, jobject in) : env(env), in(in) {
        const jclass type = env->GetObjectClass(in);
        buffer = static_cast<jbyteArray>(env->GetObjectField(in, env->GetFieldID(type, "buffer", "[B")));
        copy = env->GetMethodID(type, "copyBytes", "(J)I");
    }

    size_t operator()(void* bytes, size_t size, size_t count) override {
        const size_t total = size * count;
        for (size_t done = 0; done < total;) {
            const jint piece = env->CallIntMethod(in, copy, static_cast<jlong>(total - done));
            if (env->ExceptionCheck() || piece <= 0) throw std::runtime_error("the input ended early");
            env->GetByteArrayRegion(buffer, 0, piece, static_cast<jbyte*>(bytes) + done);
            done += piece;
        }
        return count;
    }
};

faiss::IndexIDMap* graphAt(jlong address) { return dynamic_cast<faiss::IndexIDMap*>(reinterpret_cast<faiss::Index*>(address)); }

jobjectArray answer(JNIEnv* env, const Hits& hits) {
    const jclass type = env->FindClass("org/opensearch/knn/index/query/KNNQueryResult");
    const jmethodID make = env->GetMethodID(type, "<init>", "(IF)V");
    const jobjectArray results = env->NewObjectArray(static_cast<jsize>(hits.size()), type, nullptr);
    for (size_t at = 0; at < hits.size(); at++) {
        const jobject result = env->NewObject(type, make, static_cast<jint>(hits[at].second), hits[at].first);
        env->SetObjectArrayElement(results, static_cast<jsize>(at), result);
        env->DeleteLocalRef(result);
    }
    return results;
}

/** Near ones first: a distance is small, a product is large. */
void order(Hits& hits, bool product) {
    if (product) std::sort(hits.rbegin(), hits.rend());
    else std::sort(hits.begin(), hits.end());
}

Hits searchGraph(const faiss::IndexIDMap& graph, const Floats& query, int k, int candidates) {
    faiss::SearchParametersHNSW parameters;
    parameters.efSearch = std::max(k, candidates);
    Floats distances(k);
    std::vector<int64_t> positions(k);
    graph.index->search(1, query.data(), k, distances.data(), positions.data(), &parameters);
    Hits hits;
    for (int at = 0; at < k; at++) {
        if (positions[at] >= 0) hits.emplace_back(distances[at], graph.id_map[positions[at]]);
    }
    return hits;
}

Hits scan(const faiss::IndexIDMap& graph, const Floats& query, int k, const std::function<bool(int64_t)>& passes) {
    const bool product = graph.metric_type == faiss::METRIC_INNER_PRODUCT;
    Floats vector(query.size());
    Hits hits;
    for (int64_t at = 0; at < graph.ntotal; at++) {
        const int64_t document = graph.id_map[at];
        if (!passes(document)) continue;
        graph.index->reconstruct(at, vector.data());
        float score = 0;
        for (size_t i = 0; i < query.size(); i++) {
            const float difference = query[i] - vector[i];
            score += product ? query[i] * vector[i] : difference * difference;
        }
        hits.emplace_back(score, document);
    }
    order(hits, product);
    if (hits.size() > static_cast<size_t>(k)) hits.resize(k);
    return hits;
}

}  // namespace

#define NATIVE(result, type, name) extern "C" JNIEXPORT result JNICALL Java_org_opensearch_knn_jni_##type##_##name

NATIVE(jlong, JNICommons, storeVectorData)(JNIEnv* env, jclass, jlong address, jobjectArray rows, jlong capacity, jboolean append) {
    return guarded<jlong>(env, 0, [&] {
        auto* stored = address == 0 ? new Floats() : reinterpret_cast<Floats*>(address);
        if (address == 0) stored->reserve(capacity);
        if (!append) stored->clear();
        for (jsize at = 0, count = env->GetArrayLength(rows); at < count; at++) {
            const auto row = static_cast<jfloatArray>(env->GetObjectArrayElement(rows, at));
            const Floats vector = floatsOf(env, row);
            stored->insert(stored->end(), vector.begin(), vector.end());
            env->DeleteLocalRef(row);
        }
        return reinterpret_cast<jlong>(stored);
    });
}

NATIVE(void, JNICommons, freeVectorData)(JNIEnv*, jclass, jlong address) { delete reinterpret_cast<Floats*>(address); }

NATIVE(void, FaissService, initLibrary)(JNIEnv*, jclass) {}

NATIVE(jlong, FaissService, initIndex)(JNIEnv* env, jclass, jlong, jint dimension, jobject options) {
    return guarded<jlong>(env, 0, [&] {
        // the cosine comes as a product too: the plugin makes each vector one long before it gives it here
        const bool product = textOf(env, entryOf(env, options, "spaceType"), "l2") == "innerproduct";
        const std::string description = textOf(env, entryOf(env, options, "index_description"), "HNSW16,Flat");
        std::unique_ptr<faiss::Index> made(
            faiss::index_factory(dimension, description.c_str(), product ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2));
        auto* graph = dynamic_cast<faiss::IndexHNSWFlat*>(made.get());
        if (graph == nullptr) throw std::runtime_error("only graphs of plain floats are known here, not " + description);
        const jobject parameters = entryOf(env, options, "parameters");
        graph->hnsw.efConstruction = integerOf(env, entryOf(env, parameters, "ef_construction"), 100);
        graph->hnsw.efSearch = integerOf(env, entryOf(env, parameters, "ef_search"), 100);
        auto* mapped = new faiss::IndexIDMap(made.release());
        mapped->own_fields = true;
        return reinterpret_cast<jlong>(static_cast<faiss::Index*>(mapped));
    });
}

NATIVE(void, FaissService, insertToIndex)(JNIEnv* env, jclass, jintArray ids, jlong vectors, jint dimension, jlong index, jint) {
    guarded(env, [&] {
        std::vector<jint> given(env->GetArrayLength(ids));
        env->GetIntArrayRegion(ids, 0, static_cast<jsize>(given.size()), given.data());
        const std::vector<int64_t> documents(given.begin(), given.end());
        const auto& floats = *reinterpret_cast<Floats*>(vectors);
        if (floats.size() < documents.size() * dimension) throw std::runtime_error("there are fewer vectors than documents");
        graphAt(index)->add_with_ids(static_cast<int64_t>(documents.size()), floats.data(), documents.data());
    });
}

NATIVE(void, FaissService, writeIndex)(JNIEnv* env, jclass, jlong index, jobject out) {
    guarded(env, [&] {
        const std::unique_ptr<faiss::Index> owned(reinterpret_cast<faiss::Index*>(index));
        JavaWriter writer(env, out);
        faiss::write_index(owned.get(), &writer);
    });
}

NATIVE(jlong, FaissService, loadIndexWithStream)(JNIEnv* env, jclass, jobject in) {
    return guarded<jlong>(env, 0, [&] {
        JavaReader reader(env, in);
        return reinterpret_cast<jlong>(faiss::read_index(&reader, 0));
    });
}

NATIVE(jboolean, FaissService, isSharedIndexStateRequired)(JNIEnv*, jclass, jlong) { return JNI_FALSE; }

NATIVE(void, FaissService, free)(JNIEnv*, jclass, jlong index, jboolean) { delete reinterpret_cast<faiss::Index*>(index); }

NATIVE(jobjectArray, FaissService, queryIndex)(JNIEnv* env, jclass, jlong index, jfloatArray vector, jint k, jobject parameters, jintArray) {
    return guarded<jobjectArray>(env, nullptr, [&] {
        const auto* graph = graphAt(index);
        Hits hits = searchGraph(*graph, floatsOf(env, vector), k, integerOf(env, entryOf(env, parameters, "ef_search"), 100));
        order(hits, graph->metric_type == faiss::METRIC_INNER_PRODUCT);
        return answer(env, hits);
    });
}

NATIVE(jobjectArray, FaissService, queryIndexWithFilter)
(JNIEnv* env, jclass, jlong index, jfloatArray vector, jint k, jobject, jlongArray filter, jint kind, jintArray) {
    return guarded<jobjectArray>(env, nullptr, [&] {
        std::vector<jlong> words(env->GetArrayLength(filter));
        env->GetLongArrayRegion(filter, 0, static_cast<jsize>(words.size()), words.data());
        if (kind != FILTER_BITS) std::sort(words.begin(), words.end());
        const auto passes = [&](int64_t document) {
            if (kind != FILTER_BITS) return std::binary_search(words.begin(), words.end(), static_cast<jlong>(document));
            const auto word = static_cast<size_t>(document / 64);
            return word < words.size() && (words[word] >> (document % 64) & 1) != 0;
        };
        return answer(env, scan(*graphAt(index), floatsOf(env, vector), k, passes));
    });
}
