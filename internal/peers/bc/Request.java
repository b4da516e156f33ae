import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.mail.MessagingException;
import javax.mail.Part;
import javax.mail.Session;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.util.encoders.Hex;

/** One request: names and values in the form of a URL's query. */
final class Request {
    /** A request that makes no sense, as opposed to a message that does not. */
    static final class Mistake extends Exception {
        Mistake(String text) {
            super(text);
        }
    }

    /** A certificate with those above it, and the private key if it is known. */
    static final class Person {
        final List<X509Certificate> chain;
        final PrivateKey key;

        Person(List<X509Certificate> chain, PrivateKey key) {
            this.chain = chain;
            this.key = key;
        }

        X509Certificate certificate() {
            return chain.get(0);
        }

        byte[] keyIdentifier() throws Mistake {
            byte[] extension = certificate().getExtensionValue("2.5.29.14");
            if (extension == null) {
                throw new Mistake("the certificate has no subject key identifier");
            }
            return SubjectKeyIdentifier.getInstance(ASN1OctetString.getInstance(extension).getOctets())
                .getKeyIdentifier();
        }
    }

    private final Map<String, List<String>> values = new HashMap<>();

    Request(String line) {
        for (String pair : line.split("&")) {
            int cut = pair.indexOf('=');
            values.computeIfAbsent(decode(pair.substring(0, cut)), k -> new ArrayList<>())
                .add(decode(pair.substring(cut + 1)));
        }
    }

    private static String decode(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    String get(String name) throws Mistake {
        if (!has(name)) {
            throw new Mistake("no value for " + name);
        }
        return values.get(name).get(0);
    }

    List<String> all(String name) {
        return values.getOrDefault(name, new ArrayList<>());
    }

    byte[] hex(String name) throws Mistake {
        return Hex.decode(get(name));
    }

    boolean smime() throws Mistake {
        return get("format").equals("smime");
    }

    byte[] input() throws Mistake, IOException {
        return read(get("in"));
    }

    byte[] read(String file) throws IOException {
        return Files.readAllBytes(Paths.get(file));
    }

    void write(byte[] result) throws Mistake, IOException {
        Files.write(Paths.get(get("out")), result);
    }

    /** The people named by a list of certificate files and of key files. */
    List<Person> people(String name) throws Exception {
        List<Person> list = new ArrayList<>();
        List<String> keys = all(name + "-key");
        for (String file : all(name)) {
            String keyFile = list.size() < keys.size() ? keys.get(list.size()) : "";
            list.add(new Person(certificates(file), keyFile.isEmpty() ? null : privateKey(keyFile)));
        }
        return list;
    }

    List<X509Certificate> certificates(String file) throws Exception {
        List<X509Certificate> list = new ArrayList<>();
        CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
        factory.generateCertificates(new ByteArrayInputStream(read(file)))
            .forEach(c -> list.add((X509Certificate) c));
        return list;
    }

    private PrivateKey privateKey(String file) throws Exception {
        String pem = new String(read(file), StandardCharsets.US_ASCII);
        try (PEMParser parser = new PEMParser(new StringReader(pem))) {
            return new JcaPEMKeyConverter().setProvider("BC").getPrivateKey((PrivateKeyInfo) parser.readObject());
        }
    }

    /** The input as a MIME entity. */
    MimeBodyPart entity() throws Exception {
        return new MimeBodyPart(new ByteArrayInputStream(input()));
    }

    /** The octets of a message whose content is the given entity. */
    static byte[] message(Part entity) throws MessagingException, IOException {
        MimeMessage message = new MimeMessage((Session) null);
        message.setContent(entity.getContent(), entity.getContentType());
        for (String name : new String[] {"Content-Transfer-Encoding", "Content-Disposition", "Content-Description"}) {
            for (String value : entity.getHeader(name) == null ? new String[0] : entity.getHeader(name)) {
                message.setHeader(name, value);
            }
        }
        message.saveChanges();
        return octets(message);
    }

    static byte[] octets(Part part) throws MessagingException, IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        part.writeTo(out);
        return out.toByteArray();
    }

    /** Runs a writer of a stream and returns what was written. */
    static byte[] collect(Writer writer, byte[] content) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (OutputStream sink = writer.open(out)) {
            int step = 4000; // several writes, none of them a round number of blocks
            for (int at = 0; at < content.length; at += step) {
                sink.write(content, at, Math.min(step, content.length - at));
            }
        }
        return out.toByteArray();
    }

    /** Opens a stream that writes a message to the given one. */
    interface Writer {
        OutputStream open(OutputStream out) throws Exception;
    }
}
